//! Several certificates on one endpoint: a client gets the one for the name that it asks for.

use std::fs;
use std::time::Duration;

use tests::certificates::{Pair, shown};
use tests::patience::{PATIENCE, within};
use tests::{Scratch, Service};
use tokio::time::sleep;
use tokio_rustls::rustls;

#[tokio::test]
async fn several_certificates_are_chosen_by_name_and_each_is_renewed_for_itself() {
    let scratch = Scratch::new();
    let (a, b) = (Pair::new(&["a.test"]), Pair::new(&["b.test", "*.b.test"]));
    a.write(&scratch.join("a"));
    b.write(&scratch.join("b"));
    let place = |name: &str| {
        let directory = scratch.join(name);
        format!("{}:{}", directory.join("cert.pem").display(), directory.join("key.pem").display())
    };
    let certs = format!("{}, {}", place("a"), place("b"));
    let service = Service::with("server web 127.0.0.1:0", |launch| {
        launch
            .env("GRACEHTTP_SERVER__WEB__TLS__CERTS", &certs)
            .env("GRACEHTTP_SERVER__WEB__TLS__SNI_STRICT", "true")
    })
    .await;
    let address = service.target.address();
    for (name, pair) in [("a.test", &a), ("b.test", &b), ("x.b.test", &b), ("127.0.0.1", &a)] {
        assert_eq!(shown(address, name).await.expect("a handshake"), pair.der, "{name}");
    }
    for name in ["c.test", "x.x.b.test"] {
        let error = shown(address, name).await.unwrap_err();
        let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let expected = rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName);
        assert_eq!(alert, Some(&expected), "{name}");
    }
    let new = Pair::new(&["b.test", "c.test"]);
    fs::write(scratch.join("a/cert.pem"), "nonsense").expect("writable");
    new.write(&scratch.join("b"));
    let renewed = async {
        while shown(address, "c.test").await.ok().as_ref() != Some(&new.der) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(PATIENCE, "the renewed certificate", renewed).await;
    assert_eq!(shown(address, "a.test").await.expect("a handshake"), a.der);
    within(PATIENCE, "a fault", service.app.log.line(0, "holds no certificate")).await;
}
