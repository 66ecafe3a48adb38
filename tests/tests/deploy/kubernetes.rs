//! The manifests follow the schema of Kubernetes, and agree with the program and with themselves.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;
use tests::client::get_once;
use tests::{Launch, Scratch, Target};

use crate::files::{MARGIN, environment, folder, seconds, settled, text};
use crate::schema::faults;

const MANIFESTS: [&str; 2] = ["kubernetes/deployment.yaml", "kubernetes/statefulset.yaml"];
/// How the Prometheus operator finds the pods of either.
const MONITOR: &str = "kubernetes/podmonitor.yaml";

/// The documents of a manifest.
fn documents(name: &str) -> Vec<Value> {
    let text = text(name);
    let documents = serde_norway::Deserializer::from_str(&text);
    documents
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{name}: {error}")))
        .collect()
}

/// The one document of a kind.
fn one<'d>(documents: &'d [Value], kind: &str) -> Option<&'d Value> {
    documents.iter().find(|document| document["kind"] == kind)
}

/// What creates the pods of a manifest.
fn workload(documents: &[Value]) -> &Value {
    one(documents, "Deployment").or_else(|| one(documents, "StatefulSet")).expect("a workload")
}

/// The settings of the program in a pod: of the image, or of the ConfigMap that is mounted over it, then of the container.
fn settings(documents: &[Value]) -> toml::Table {
    let scratch = Scratch::new();
    let config = match one(documents, "ConfigMap") {
        None => folder().join("Gracehttp.toml"),
        Some(map) => {
            let text = map["data"]["Gracehttp.toml"].as_str().expect("the file");
            let (cert, key) = scratch.certificate("tls");
            let text = text.replace("/etc/app-tls/tls.crt", cert.to_str().expect("UTF-8"));
            scratch
                .write("Gracehttp.toml", text.replace("/etc/app-tls/tls.key", key.to_str().expect("UTF-8")))
        }
    };
    let mut variables = environment(&text("Dockerfile"));
    for variable in container(documents)["env"].as_array().into_iter().flatten() {
        let word = |key: &str| variable[key].as_str().expect("a string").to_owned();
        variables.insert(word("name"), word("value"));
    }
    settled(&config, &variables)
}

/// The one container of the pods.
fn container(documents: &[Value]) -> &Value {
    &workload(documents)["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn manifests_follow_the_schema() {
    for name in MANIFESTS.into_iter().chain([MONITOR]) {
        let documents = documents(name);
        assert!(!documents.is_empty(), "{name}");
        for document in documents {
            assert_eq!(faults(&document), [""; 0], "{name}");
        }
    }
}

#[test]
fn selectors_find_the_pods() {
    for name in MANIFESTS {
        let documents = documents(name);
        let spec = &workload(&documents)["spec"];
        let labels = spec["template"]["metadata"]["labels"].as_object().expect("labels");
        let mut selectors = vec![&spec["selector"]["matchLabels"]];
        for document in &documents {
            match document["kind"].as_str() {
                Some("Service") => selectors.push(&document["spec"]["selector"]),
                Some("PodDisruptionBudget") => selectors.push(&document["spec"]["selector"]["matchLabels"]),
                _ => (),
            }
        }
        for selector in selectors {
            let selector = selector.as_object().expect("a selector");
            assert!(
                selector.iter().all(|(key, value)| labels.get(key) == Some(value)),
                "{name}: {selector:?}"
            );
        }
        if let Some(service) = spec["serviceName"].as_str() {
            let headless = |document: &Value| {
                document["metadata"]["name"] == service && document["spec"]["clusterIP"] == "None"
            };
            assert!(documents.iter().any(headless), "{name}: no headless service {service}");
        }
    }
}

#[test]
fn times_add_up() {
    for name in MANIFESTS {
        let documents = documents(name);
        let settings = settings(&documents);
        let (lame_duck, drain) = (seconds(&settings, "lame_duck"), seconds(&settings, "drain_timeout"));
        let pod = &workload(&documents)["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a grace period");
        // Its time counts before the program hears of the stop.
        let pre_stop = &container(&documents)["lifecycle"]["preStop"];
        assert!(pre_stop.is_null() || pre_stop["sleep"].is_object(), "{name}: how long is {pre_stop}?");
        let pre_stop = pre_stop["sleep"]["seconds"].as_u64().unwrap_or_default();
        let sum = pre_stop + lame_duck + drain + MARGIN;
        assert_eq!(grace, sum, "{name}: the comment there gives this sum");
        let probe = |probe: &str| {
            let probe = &container(&documents)[probe];
            probe["periodSeconds"].as_u64().expect("a period")
                * probe["failureThreshold"].as_u64().expect("a threshold")
        };
        assert!(
            probe("readinessProbe") < lame_duck,
            "{name}: who asks the probe learns too late of the stop"
        );
        assert_eq!(probe("startupProbe"), seconds(&settings, "ready_timeout"), "{name}");
    }
}

/// What Kubernetes does where a manifest says nothing, with a program that is told nothing.
#[test]
fn the_defaults_of_both_sides_fit() {
    const GRACE_BY_DEFAULT: u64 = 30;
    let scratch = Scratch::new();
    let settings = settled(&scratch.write("Gracehttp.toml", ""), &BTreeMap::new());
    let sum = seconds(&settings, "lame_duck") + seconds(&settings, "drain_timeout") + MARGIN;
    assert!(sum <= GRACE_BY_DEFAULT, "{sum} s");
}

#[test]
fn the_monitor_finds_the_pods_and_the_port() {
    let [monitor] = documents(MONITOR).try_into().expect("one document");
    let selector = monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels").clone();
    let [endpoint] = monitor["spec"]["podMetricsEndpoints"].as_array().expect("endpoints").as_slice() else {
        panic!("{monitor}")
    };
    for name in MANIFESTS {
        let documents = documents(name);
        let metadata = &workload(&documents)["spec"]["template"]["metadata"];
        let labels = metadata["labels"].as_object().expect("labels");
        assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)), "{name}: {selector:?}");
        let ports = container(&documents)["ports"].as_array().expect("ports");
        assert!(ports.iter().any(|port| port["name"] == endpoint["port"]), "{name}: {endpoint}");
        assert_eq!(endpoint["path"], metadata["annotations"]["prometheus.io/path"], "{name}");
    }
}

#[test]
fn ports_are_those_of_the_program() {
    for name in MANIFESTS {
        let documents = documents(name);
        let settings = settings(&documents);
        let container = container(&documents);
        let ports = container["ports"].as_array().expect("ports");
        let port = |name: &str| {
            let found = ports.iter().find(|port| port["name"] == name);
            found.unwrap_or_else(|| panic!("no port {name}"))["containerPort"].as_u64().expect("a number")
        };
        let of = |endpoint: &toml::Value| {
            let endpoint = endpoint.as_str().expect("an endpoint");
            endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
        };
        let admin: u64 = of(&settings["admin"]);
        assert_eq!(port("admin"), admin, "{name}");
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "admin", "{name}: {probe}");
        }
        let annotations = &workload(&documents)["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations["prometheus.io/port"], admin.to_string(), "{name}");
        let own = of(&settings["server"]["web"]["listen"][0]);
        assert!(ports.iter().any(|port| port["containerPort"] == own), "{name}: no port {own}");
        for service in documents.iter().filter(|document| document["kind"] == "Service") {
            let target = service["spec"]["ports"][0]["targetPort"].as_str().expect("a name");
            assert_eq!(port(target), own, "{name}");
        }
    }
}

#[test]
fn what_is_written_is_mounted() {
    for name in MANIFESTS {
        let documents = documents(name);
        let settings = settings(&documents);
        let container = container(&documents);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        let mounted = |path: &str| mounts.iter().any(|mount| mount["mountPath"] == path);
        let control = settings["control"].as_str().expect("the control socket");
        let (parent, _) = control.trim_start_matches("unix:").rsplit_once('/').expect("a path");
        assert!(mounted(parent), "{name}: {parent} is not writable");
        assert!(mounts.iter().all(|mount| mount["subPath"].is_null()), "{name}: such files never change");
        if one(&documents, "ConfigMap").is_some() {
            assert!(mounted("/etc/app") && mounted("/etc/app-tls"), "{name}");
        }
    }
}

#[tokio::test]
async fn probes_and_scrapes_are_answered() {
    let scratch = Scratch::new();
    let socket = scratch.join("admin.sock");
    let service = Launch::example("app")
        .listen("web", "127.0.0.1:0")
        .env("GRACEHTTP_ADMIN", format!("unix:{}", socket.display()))
        .start("web")
        .await;
    let admin = Target::Unix(socket);
    for name in MANIFESTS {
        let documents = documents(name);
        let annotations = &workload(&documents)["spec"]["template"]["metadata"]["annotations"];
        let mut paths = vec![&annotations["prometheus.io/path"]];
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            paths.push(&container(&documents)[probe]["httpGet"]["path"]);
        }
        for path in paths {
            let path = path.as_str().expect("a path");
            assert_eq!(get_once(&admin, path).await.expect("an answer").status, 200, "{name}: {path}");
        }
    }
    assert!(service.stop().await.is_clean());
}
