//! How values of each kind are written in the file and in the environment.

use std::fmt::Display;
use std::time::Duration;

use super::keys::Form;
use super::value;
use crate::lifecycle::show;
use crate::server::kinds::{Count, Flag, Keepalive, Kind, OptionalTimeout, Period, Size, Timeout};

pub(super) trait Text: Kind {
    const FORM: Form;

    /// Reads a value. An error is the second half of a sentence: it says what would be valid.
    fn read(&self, text: &str) -> Result<Self::Value, String>;

    /// The text that `read` reads as this value.
    fn show(&self, value: &Self::Value) -> String;
}

impl Text for Flag {
    const FORM: Form = Form::Bare;

    fn read(&self, text: &str) -> Result<bool, String> {
        value::flag(text)
    }

    fn show(&self, on: &bool) -> String {
        on.to_string()
    }
}

impl<N> Text for Count<N>
where
    Self: Kind<Value = N>,
    N: Copy + TryFrom<usize> + PartialOrd + Display,
{
    const FORM: Form = Form::Bare;

    fn read(&self, text: &str) -> Result<N, String> {
        value::count_to(text, self.most)
    }

    fn show(&self, number: &N) -> String {
        number.to_string()
    }
}

impl<N> Text for Size<N>
where
    Self: Kind<Value = N>,
    N: Copy + PartialOrd + TryFrom<u64> + TryInto<u64>,
{
    const FORM: Form = Form::Size;

    fn read(&self, text: &str) -> Result<N, String> {
        value::size_from(text, self.least)
    }

    fn show(&self, bytes: &N) -> String {
        value::show_size((*bytes).try_into().unwrap_or(u64::MAX))
    }
}

impl Text for Period {
    const FORM: Form = Form::Text;

    fn read(&self, text: &str) -> Result<Duration, String> {
        value::duration(text)
    }

    fn show(&self, period: &Duration) -> String {
        show(*period)
    }
}

impl Text for Timeout {
    const FORM: Form = Form::Text;

    fn read(&self, text: &str) -> Result<Duration, String> {
        value::positive_duration(text)
    }

    fn show(&self, limit: &Duration) -> String {
        show(*limit)
    }
}

impl Text for OptionalTimeout {
    const FORM: Form = Form::Text;

    fn read(&self, text: &str) -> Result<Option<Duration>, String> {
        value::duration_or_off(text)
    }

    fn show(&self, limit: &Option<Duration>) -> String {
        value::show_or_off(*limit)
    }
}

impl Text for Keepalive {
    const FORM: Form = Form::Text;

    fn read(&self, text: &str) -> Result<Option<Duration>, String> {
        value::keepalive_or_off(text)
    }

    fn show(&self, idle: &Option<Duration>) -> String {
        value::show_or_off(*idle)
    }
}
