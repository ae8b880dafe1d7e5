//! Pods in, decisions out.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CONTAINER, Decision, Place, Policy, Skip, decide, patch, qos};

#[allow(clippy::needless_pass_by_value, reason = "values are made for it")]
fn pod(annotations: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"dwcp.io/inject": "true", "app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app:1", "ports": [{"name": "metrics", "containerPort": 8080}]}]},
    })
}

fn place() -> Place {
    Place { namespace: "shop".to_owned(), owner_kind: String::new() }
}

fn policy(text: &str) -> Policy {
    Policy::read(text).unwrap()
}

fn injected(pod: &Value, policy: &Policy) -> (Value, Vec<String>) {
    let Decision { outcome, warnings } = decide(pod, &place(), policy);
    let operations = outcome.unwrap_or_else(|skip| panic!("{skip:?}: {warnings:?}"));
    assert!(operations.iter().all(|operation| operation["op"] == "add"));
    (patch::apply(pod, &operations).unwrap(), warnings)
}

fn sidecar(pod: &Value) -> &Value {
    let kinds = ["containers", "initContainers"];
    let mut all = kinds.iter().flat_map(|kind| pod["spec"][*kind].as_array().into_iter().flatten());
    all.find(|container| container["name"] == CONTAINER).unwrap()
}

fn variable(container: &Value, name: &str) -> Option<String> {
    let all = container["env"].as_array().unwrap();
    all.iter().find(|variable| variable["name"] == name)?["value"].as_str().map(str::to_owned)
}

fn defaults(container: &Value) -> Value {
    serde_json::from_str(&variable(container, "DWCP_DEFAULTS").unwrap()).unwrap()
}

#[test]
fn a_labelled_pod_gets_a_restricted_container_at_the_end() {
    let (after, warnings) = injected(&pod(json!({})), &Policy::default());
    assert_eq!(warnings, Vec::<String>::new());
    let containers = after["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2);
    let sidecar = &containers[1];
    let security = &sidecar["securityContext"];
    for (name, value) in [
        ("runAsUser", json!(65532)),
        ("runAsNonRoot", json!(true)),
        ("readOnlyRootFilesystem", json!(true)),
        ("allowPrivilegeEscalation", json!(false)),
        ("capabilities", json!({"drop": ["ALL"]})),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        assert_eq!(security[name], value, "{name}");
    }
    for probe in ["readinessProbe", "startupProbe", "livenessProbe", "restartPolicy"] {
        assert!(sidecar.get(probe).is_none(), "{probe}");
    }
    assert!(sidecar["args"].as_array().unwrap().contains(&json!("--config.on-error=degraded")));
    assert_eq!(sidecar["ports"][0]["containerPort"], 10091);
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["mountPath"] == token));
    assert_eq!(after["spec"]["volumes"][0]["emptyDir"]["sizeLimit"], "128Mi");
    assert_eq!(variable(sidecar, "DWCP__ALERT__SLACK_ENABLED").as_deref(), Some("false"));
    let target = &defaults(sidecar)["scrape"]["targets"][0];
    assert_eq!(target["url"], "http://127.0.0.1:8080/metrics");
    assert_eq!(target["scope"], "pod");
    assert_eq!(
        target["labels"],
        json!({"job": "web", "namespace": "$(POD_NAMESPACE)", "pod": "$(POD_NAME)"})
    );
    assert_eq!(after["metadata"]["annotations"]["dwcp.io/metrics-port"], "10091");
}

#[test]
fn a_native_sidecar_comes_first_and_stays() {
    let policy = policy("nodes_at_least: '1.33'");
    let (after, _) = injected(&pod(json!({})), &policy);
    assert_eq!(after["spec"]["initContainers"][0]["restartPolicy"], "Always");
    let mut with_initial = pod(json!({}));
    with_initial["spec"]["initContainers"] = json!([{"name": "migrate", "image": "m"}]);
    let (after, _) = injected(&with_initial, &policy);
    assert_eq!(after["spec"]["initContainers"][0]["name"], CONTAINER);
    assert_eq!(after["spec"]["initContainers"][1]["name"], "migrate");
    let mut of_job = pod(json!({}));
    of_job["spec"]["restartPolicy"] = json!("Never");
    assert_eq!(sidecar(&injected(&of_job, &policy).0)["restartPolicy"], "Always");
}

#[test]
fn reasons_to_leave_a_pod_are_told_and_named() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut pod = pod(json!({}));
        change(&mut pod);
        pod
    };
    let cases: Vec<(Skip, &str, Value)> = vec![
        (Skip::RunsToCompletion, "finishing", with(&|p| p["spec"]["restartPolicy"] = json!("Never"))),
        (
            Skip::RunsToCompletion,
            "finishing",
            with(&|p| p["metadata"]["ownerReferences"] = json!([{"kind": "Job"}])),
        ),
        (
            Skip::NameClash,
            "not a sidecar's",
            with(&|p| p["spec"]["containers"][0]["name"] = json!(CONTAINER)),
        ),
        (Skip::NotLinux, "Linux", with(&|p| p["spec"]["os"] = json!({"name": "windows"}))),
        (
            Skip::NotLinux,
            "Linux",
            with(&|p| p["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"})),
        ),
        (
            Skip::OtherArchitecture,
            "amd64, arm64",
            with(&|p| p["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": "s390x"})),
        ),
        (Skip::MalformedPod, "containers", with(&|p| p["spec"]["containers"] = json!("no"))),
        (Skip::MalformedPod, "no container", with(&|p| p["spec"]["containers"] = json!([]))),
        (Skip::MalformedPod, "volumes", with(&|p| p["spec"]["volumes"] = json!([7]))),
        (Skip::MalformedPod, "spec", with(&|p| p["spec"] = json!(null))),
        (Skip::MalformedPod, "annotations", with(&|p| p["metadata"]["annotations"] = json!([]))),
        (
            Skip::PortClash,
            "taken",
            with(&|p| {
                p["spec"]["containers"][0]["ports"] =
                    (10091..10191).map(|port| json!({"containerPort": port})).collect();
            }),
        ),
        (
            Skip::NoTarget,
            "nothing to watch",
            with(&|p| {
                p["spec"] = json!({"hostNetwork": true, "containers": [{"name": "a", "image": "a"}]});
            }),
        ),
    ];
    for (reason, told, pod) in cases {
        let decision = decide(&pod, &place(), &Policy::default());
        assert_eq!(decision.outcome, Err(reason), "{pod}");
        assert!(decision.warnings.iter().any(|warning| warning.contains(told)), "{:?}", decision.warnings);
    }
    let of_system = Place { namespace: "kube-system".to_owned(), ..Place::default() };
    assert_eq!(decide(&pod(json!({})), &of_system, &Policy::default()).outcome, Err(Skip::ExcludedNamespace));
}

#[test]
fn every_bad_annotation_leaves_the_pod_bare_with_a_warning() {
    for (name, value) in [
        ("port", "x"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "70"),
        ("path", "metrics"),
        ("path", "/a b"),
        ("path", "/a\"b"),
        ("targets", ""),
        ("targets", ","),
        ("targets", "http://10.0.0.1:9100/metrics"),
        ("targets", "http://169.254.169.254/latest"),
        ("targets", "http://127.evil.example/x"),
        ("targets", "http://127.0.0.1.nip.io/x"),
        ("targets", "http://127.0.0.1:8080/a,http://127.0.0.1:8080/b"),
        ("targets", "http://localhost:8080/m,http://127.0.0.1:8080/m"),
        ("targets", "file:///etc/passwd"),
        ("targets", "http://user:secret@127.0.0.1:9100/"),
        ("targets", "ht!tp"),
        ("scope", "cluster"),
        ("config-map", "Not_A_Name"),
        ("config-map", "../x"),
        ("secret", "a..b"),
        ("check-interval", "fast"),
        ("check-interval", "1ms"),
        ("check-interval", "1d"),
        ("cpu-limit", "7"),
        ("cpu-limit", "0"),
        ("memory-limit", "1Ti"),
        ("memory-limit", "1Ki"),
        ("memory-request", "many"),
        ("profile", "heroic"),
        ("image", "evil:latest"),
    ] {
        let full = format!("dwcp.io/{name}");
        let decision = decide(
            &pod(json!({full.clone(): value})),
            &place(),
            &policy("target_ports: {min: 80, max: 65535}"),
        );
        assert_eq!(decision.outcome, Err(Skip::BadAnnotation), "{name}={value}");
        let told = decision.warnings.join("\n");
        assert!(told.contains("dwcp.io/"), "{name}={value}: {told}");
        assert!(!told.contains("secret@"), "{told}");
    }
    let odd = decide(&pod(json!({"dwcp.io/port": 9100})), &place(), &Policy::default());
    assert_eq!(odd.outcome, Err(Skip::BadAnnotation));
}

#[test]
fn annotations_set_what_they_say() {
    let annotations = json!({
        "dwcp.io/port": "9200",
        "dwcp.io/path": "/probe?x=$(y)",
        "dwcp.io/config-map": "watch.web",
        "dwcp.io/secret": "channels",
        "dwcp.io/check-interval": "30s",
        "dwcp.io/profile": "light",
        "dwcp.io/scope": "node",
        "dwcp.io/imag": "typo",
    });
    let (after, warnings) =
        injected(&pod(annotations), &policy("defaults: {alert: {alertmanagers: [{url: 'http://am:9093'}]}}"));
    assert!(warnings.iter().any(|told| told.contains("dwcp.io/imag ")), "{warnings:?}");
    let sidecar = sidecar(&after);
    let defaults = defaults(sidecar);
    assert_eq!(defaults["scrape"]["targets"][0]["url"], "http://127.0.0.1:9200/probe?x=$$(y)");
    assert_eq!(defaults["scrape"]["targets"][0]["scope"], "node");
    assert_eq!(defaults["alert"]["alertmanagers"][0]["url"], "http://am:9093");
    assert_eq!(defaults["detector"]["lstm_autoencoder"]["enabled"], false);
    assert_eq!(variable(sidecar, "DWCP__CHECK_INTERVAL").as_deref(), Some("30s"));
    assert_eq!(variable(sidecar, "DWCP__ALERT__SLACK_ENABLED"), None, "the Secret turns channels on");
    let arguments = sidecar["args"].to_string();
    assert!(arguments.contains("--config.file=/etc/dwcp-anomaly/anomaly-detection.yaml"), "{arguments}");
    assert!(arguments.contains("--instance=$(NODE_NAME)"), "{arguments}");
    let volumes = after["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.contains(
        &json!({"name": "dwcp-anomaly-config", "configMap": {"name": "watch.web", "optional": true}})
    ));
    assert!(volumes.contains(
        &json!({"name": "dwcp-anomaly-secret", "secret": {"secretName": "channels", "optional": true}})
    ));
}

#[test]
fn targets_are_found_by_annotation_then_by_name_then_assumed() {
    let found = |annotations: Value, ports: Value| {
        let mut pod = pod(annotations);
        pod["spec"]["containers"][0]["ports"] = ports;
        let (after, warnings) = injected(&pod, &Policy::default());
        let targets = defaults(sidecar(&after))["scrape"]["targets"].clone();
        let urls: Vec<String> =
            targets.as_array().into_iter().flatten().map(|t| t["url"].as_str().unwrap().to_owned()).collect();
        (urls.join(" "), warnings.len())
    };
    for (annotations, ports, urls, warnings) in [
        (
            json!({"dwcp.io/targets": "http://localhost:1/a, https://[::1]:2/b"}),
            json!([]),
            "http://localhost:1/a https://[::1]:2/b",
            0,
        ),
        (
            json!({"prometheus.io/port": "7", "prometheus.io/path": "/m", "prometheus.io/scheme": "https"}),
            json!([]),
            "https://127.0.0.1:7/m",
            0,
        ),
        (json!({"prometheus.io/port": "7", "dwcp.io/port": "8"}), json!([]), "http://127.0.0.1:8/metrics", 0),
        (json!({"prometheus.io/port": "7", "dwcp.io/path": "/x"}), json!([]), "http://127.0.0.1:7/x", 0),
        (
            json!({"prometheus.io/port": "7", "prometheus.io/scrape": "false"}),
            json!([]),
            "http://127.0.0.1:9100/metrics",
            1,
        ),
        (
            json!({"prometheus.io/port": "x"}),
            json!([{"name": "http-metrics", "containerPort": 5}]),
            "http://127.0.0.1:5/metrics",
            1,
        ),
        (json!({}), json!([{"name": "web", "containerPort": 5}]), "http://127.0.0.1:9100/metrics", 1),
        (
            json!({"dwcp.io/targets": "embedded://host, http://127.0.0.1:1/, http://$(HOST_IP):9100/metrics"}),
            json!([]),
            "http://127.0.0.1:1/",
            2,
        ),
        (json!({"dwcp.io/config-map": "c"}), json!([]), "", 0),
    ] {
        assert_eq!(found(annotations.clone(), ports), (urls.to_owned(), warnings), "{annotations}");
    }
}

#[test]
fn a_node_exporter_is_watched_in_its_own_pod_and_nowhere_else() {
    let exporter = json!({"name": "ne", "image": "quay.io/prometheus/node-exporter:v1.9.0", "ports": [{"name": "metrics", "containerPort": 9100, "hostPort": 9100}]});
    let mut own = pod(json!({}));
    own["spec"] = json!({"hostNetwork": true, "containers": [exporter]});
    let (after, _) = injected(&own, &Policy::default());
    let own_sidecar = sidecar(&after);
    assert_eq!(defaults(own_sidecar)["scrape"]["targets"][0]["scope"], "node");
    assert_eq!(variable(own_sidecar, "DWCP__ALERT__SHARED_NODES").as_deref(), Some("true"));
    assert!(own_sidecar.get("ports").is_none(), "a port declared in the node's network is one of the node's");
    let mut other =
        pod(json!({"dwcp.io/targets": "http://127.0.0.1:9100/metrics,http://127.0.0.1:8080/metrics"}));
    other["spec"]["hostNetwork"] = json!(true);
    let (after, warnings) = injected(&other, &Policy::default());
    assert_eq!(defaults(sidecar(&after))["scrape"]["targets"].as_array().unwrap().len(), 1);
    assert!(warnings[0].contains("left out"), "{warnings:?}");
}

#[test]
fn clashes_of_ports_and_names_are_resolved() {
    let mut crowded = pod(json!({}));
    crowded["spec"]["containers"][0]["ports"] = json!([
        {"name": "dwcp-metrics", "containerPort": 10091}, {"name": "b", "containerPort": 10092},
    ]);
    crowded["spec"]["volumes"] = json!([{"name": "dwcp-anomaly-state", "emptyDir": {}}]);
    let (after, _) = injected(&crowded, &Policy::default());
    let sidecar = sidecar(&after);
    assert_eq!(
        sidecar["ports"],
        json!([{"name": "dwcp-metrics-2", "containerPort": 10093, "protocol": "TCP"}])
    );
    assert_eq!(sidecar["volumeMounts"][0]["name"], "dwcp-anomaly-state-2");
    assert!(sidecar["args"].to_string().contains("--web.listen-address=:10093\""));
}

#[test]
fn the_port_that_is_watched_is_never_the_sidecars_own() {
    for annotations in [
        json!({"dwcp.io/port": "10091"}),
        json!({"prometheus.io/port": "10091"}),
        json!({"dwcp.io/targets": "http://127.0.0.1:10091/metrics"}),
    ] {
        let (after, _) = injected(&pod(annotations), &Policy::default());
        assert!(sidecar(&after)["args"].to_string().contains("--web.listen-address=:10092\""));
    }
}

#[test]
fn what_a_template_was_copied_with_is_not_believed() {
    let (after, _) = injected(
        &pod(json!({"dwcp.io/injected-version": "0.0.1", "dwcp.io/metrics-port": "1"})),
        &Policy::default(),
    );
    assert_eq!(after["metadata"]["annotations"]["dwcp.io/injected-version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(after["metadata"]["annotations"]["dwcp.io/metrics-port"], "10091");
}

fn amounts() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"requests": {"cpu": "100m"}})),
        Just(json!({"requests": {"cpu": "0", "memory": "0"}})),
        Just(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
        Just(
            json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}})
        ),
        Just(json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "64Mi"}})),
    ]
}

fn container() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("app"), Just("dwcp-anomaly"), Just("proxy"), Just("node-exporter")];
    let image = prop_oneof![Just("app:1"), Just("prom/node-exporter:v1"), Just("r/dwcp-anomaly:9")];
    let ports = proptest::collection::vec(
        (9098_u16..9102, any::<bool>()).prop_map(|(port, named)| {
            if named {
                json!({"containerPort": port + 1000 - 8, "name": "dwcp-metrics"})
            } else {
                json!({"containerPort": port})
            }
        }),
        0..3,
    );
    (name, image, ports, amounts(), any::<bool>()).prop_map(|(name, image, ports, resources, stays)| {
        let mut container = json!({"name": name, "image": image, "ports": ports, "resources": resources});
        if stays {
            container["restartPolicy"] = json!("Always");
        }
        container
    })
}

fn some_list(item: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(json!(null))),
        3 => proptest::collection::vec(item, 0..3).prop_map(|items| Some(json!(items))),
    ]
    .boxed()
}

fn any_pod() -> impl Strategy<Value = Value> {
    let volume = prop_oneof![Just("data"), Just("dwcp-anomaly-state"), Just("dwcp-anomaly-no-token")]
        .prop_map(|name| json!({"name": name, "emptyDir": {}}));
    let annotation = prop_oneof![
        Just(("dwcp.io/port", "9200")),
        Just(("dwcp.io/port", "nine")),
        Just(("dwcp.io/config-map", "c")),
        Just(("dwcp.io/inject", "true")),
        Just(("dwcp.io/injected-version", "0.0.1")),
        Just(("prometheus.io/port", "9100")),
        Just(("a/b~c", "x")),
    ];
    let annotations = prop_oneof![
        1 => Just(None),
        1 => Just(Some(json!(null))),
        4 => proptest::collection::btree_map(annotation.clone().prop_map(|(n, _)| n), annotation.prop_map(|(_, v)| v), 0..3)
            .prop_map(|map| Some(json!(map))),
    ];
    let flags =
        (any::<bool>(), any::<bool>(), any::<bool>(), prop_oneof![9 => Just("true"), 1 => Just("no")]);
    (proptest::collection::vec(container(), 1..4), some_list(container()), some_list(volume), annotations, flags).prop_map(
        |(containers, initial, volumes, annotations, (on_node, is_job, of_pod, wish))| {
            let mut pod = json!({"metadata": {"generateName": "web-", "labels": {"dwcp.io/inject": wish}}, "spec": {"containers": containers}});
            if let Some(annotations) = annotations {
                pod["metadata"]["annotations"] = annotations;
            }
            for (name, value) in [("initContainers", initial), ("volumes", volumes)] {
                if let Some(value) = value {
                    pod["spec"][name] = value;
                }
            }
            if on_node {
                pod["spec"]["hostNetwork"] = json!(true);
            }
            if is_job {
                pod["spec"]["restartPolicy"] = json!("OnFailure");
            }
            if of_pod {
                pod["spec"]["resources"] = json!({"requests": {"cpu": "1"}});
            }
            pod
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn injecting_twice_is_injecting_once_and_changes_nothing_else(pod in any_pod(), native in any::<bool>()) {
        let policy = policy(if native { "nodes_at_least: '1.33'" } else { "{}" });
        let first = decide(&pod, &place(), &policy);
        prop_assert_eq!(&first, &decide(&pod, &place(), &policy), "the same pod, another decision");
        prop_assert_ne!(&first.outcome, &Err(Skip::PatchFailed));
        let Ok(operations) = first.outcome else {
            return Ok(());
        };
        let once = patch::apply(&pod, &operations).unwrap();
        prop_assert_eq!(decide(&once, &place(), &policy).outcome, Err(Skip::AlreadyInjected));
        // Where the pod as a whole has resources, those are its class.
        prop_assert!(qos::of_pod(&pod) || qos::class(&pod) == qos::class(&once));
        let copies = once["spec"].to_string().matches("\"name\":\"dwcp-anomaly\"").count();
        prop_assert_eq!(copies, 1);
        prop_assert!(json_size(&once) > json_size(&pod));
    }
}

fn json_size(value: &Value) -> usize {
    value.to_string().len()
}

#[test]
fn a_mirror_of_a_static_pod_is_left_as_it_is_and_told_so() {
    let mut mirror = pod(json!({}));
    mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("abc");
    let decision = decide(&mirror, &Place::default(), &Policy::default());
    assert_eq!(decision.outcome, Err(Skip::MirrorPod));
    assert!(decision.warnings[0].contains("static pod"), "{:?}", decision.warnings);
}
