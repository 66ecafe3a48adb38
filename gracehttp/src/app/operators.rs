//! The address for operators in the life of a process, with the feature `admin` or without it.

use std::sync::Arc;

#[cfg(feature = "admin")]
use crate::admin::{Admin, Hosts};
use crate::config::Settings;
use crate::health::Health;
#[cfg(feature = "admin")]
use crate::lifecycle::Address;
use crate::lifecycle::Events;
#[cfg(feature = "admin")]
use crate::listen::OwnPurpose;
use crate::listen::{OwnAddress, OwnListeners};
#[cfg(feature = "admin")]
use crate::log;
use crate::status::Document;

/// Where operators ask, if they can.
pub(super) fn address(settings: &Settings) -> Option<OwnAddress> {
    #[cfg(feature = "admin")]
    return settings.admin.clone().map(|endpoint| OwnAddress::new(OwnPurpose::Admin, endpoint, true));
    #[cfg(not(feature = "admin"))]
    {
        let _ = settings;
        None
    }
}

/// Who answers them.
#[cfg(feature = "admin")]
pub(super) struct Operators(Option<Arc<Admin>>);

#[cfg(feature = "admin")]
impl Operators {
    pub(super) fn new(
        settings: &Settings,
        health: &Arc<Health>,
        document: &Arc<Document>,
        events: &Events,
    ) -> Self {
        Self(settings.admin.as_ref().map(|endpoint| {
            let admin = Admin::new(health.clone(), document.clone(), Hosts::of(endpoint));
            events.subscribe(admin.clone());
            admin
        }))
    }

    /// Whether any can ask.
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Answers them from now on: in a first start, before the application's start-up code runs; in a restart, after the
    /// commit, until which the predecessor answers.
    pub(super) fn open(&self, own: &mut OwnListeners) {
        let Some(admin) = self.0.clone() else { return };
        own.iter()
            .filter(|own| own.purpose == OwnPurpose::Admin)
            .for_each(|own| announce(&own.listener.local));
        own.serve(OwnPurpose::Admin, move |socket| admin.take_in(socket));
    }
}

#[cfg(feature = "admin")]
fn announce(address: &Address) {
    match address {
        Address::Tcp(address) => {
            log::info(format_args!("health, metrics and status page on http://{address}"));
            if !address.ip().to_canonical().is_loopback() {
                log::notice(format_args!(
                    "the address `admin`, {address}, is open to other machines: it tells all who reach it how this \
                     service fares; `127.0.0.1:{}` is for this machine alone",
                    address.port()
                ));
            }
        }
        Address::Unix(path) => {
            log::info(format_args!("health, metrics and status page on unix:{}", path.display()));
        }
    }
}

/// A program without the feature has no such address.
#[cfg(not(feature = "admin"))]
pub(super) struct Operators;

#[cfg(not(feature = "admin"))]
impl Operators {
    pub(super) fn new(_: &Settings, _: &Arc<Health>, _: &Arc<Document>, _: &Events) -> Self {
        Self
    }

    pub(super) fn is_some(&self) -> bool {
        false
    }

    pub(super) fn open(&self, _: &mut OwnListeners) {}
}
