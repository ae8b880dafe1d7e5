//! The container that is added, and the volumes it needs.

use serde_json::{Map, Value, json};

use super::annotation::{list, running};
use super::policy::Policy;
use super::qos::{self, Class};
use super::settings::Settings;
use super::target::Target;
use super::{CONTAINER, Left, Place, Skip, system};

/// Where the ConfigMap is mounted.
const CONFIG: &str = "/etc/dwcp-anomaly";
/// Where the Secret is.
const SECRET: &str = "/etc/dwcp-anomaly-secret";
/// Where state is kept.
const STATE: &str = "/var/lib/dwcp-anomaly";
/// Where the service account's token would be.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Name of the port; the operator's monitors look for it.
const PORT_NAME: &str = "dwcp-metrics";
/// Ports tried after the first.
const PORTS: u16 = 100;
/// Disk that is reserved for the state.
pub(super) const LEAST_STATE: &str = "8Mi";

/// What is added to a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sidecar {
    pub(super) container: Value,
    pub(super) volumes: Vec<Value>,
    pub(super) is_native: bool,
    pub(super) port: u16,
}

/// Builds it for a pod.
pub(super) fn build(
    pod: &Value,
    place: &Place,
    policy: &Policy,
    settings: &Settings,
    targets: &[Target],
) -> Result<Sidecar, Left> {
    let is_native = policy.is_native();
    if !is_native && runs_to_completion(pod, place) {
        let told = "a classic sidecar would keep it from ever finishing; native ones need nodes of 1.33 \
                    (nodes_at_least in the injector's policy)";
        return Err(Left::new(Skip::RunsToCompletion, told));
    }
    if let Some(why) = system::elsewhere(pod) {
        return Err(Left::new(Skip::NotLinux, format!("the sidecar runs on Linux only, and {why}")));
    }
    if let Some(why) = system::on_other_processors(pod, &policy.architectures) {
        let ours = policy.architectures.join(", ");
        let told =
            format!("the sidecar's image is for {ours} (architectures in the injector's policy), and {why}");
        return Err(Left::new(Skip::OtherArchitecture, told));
    }
    let port = free_port(pod, place, policy.port, targets)?;
    let volumes = Volumes::name(pod)?;
    let mut container = json!({
        "name": CONTAINER,
        "image": settings.image,
        "args": arguments(port, settings, targets),
        "env": environment(policy, settings, targets, &job(pod)),
        "resources": resources(pod, policy, settings),
        "securityContext": security(),
        "volumeMounts": volumes.mounts(settings),
    });
    // In the node's network a port that is declared is one of the node's, and the second such pod would never start.
    if pod["spec"]["hostNetwork"] != true {
        container["ports"] = json!([{"name": port_name(pod), "containerPort": port, "protocol": "TCP"}]);
    }
    if is_native {
        container["restartPolicy"] = json!("Always");
    }
    Ok(Sidecar { container, volumes: volumes.all(policy, settings), is_native, port })
}

fn runs_to_completion(pod: &Value, place: &Place) -> bool {
    let of_job = |kind: &str| kind == "Job" || kind == "CronJob";
    let owners = pod["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    of_job(&place.owner_kind)
        || owners.iter().any(|owner| owner["kind"].as_str().is_some_and(of_job))
        || pod["spec"]["restartPolicy"].as_str().is_some_and(|policy| policy != "Always")
}

/// The port by the policy, or the next that nobody in the pod declares and where nothing is to be watched. In the node's
/// network, where other pods are too, each workload begins at another one.
fn free_port(pod: &Value, place: &Place, first: u16, targets: &[Target]) -> Result<u16, Left> {
    let all = || list(pod, "containers").iter().chain(list(pod, "initContainers"));
    let ports = || all().flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let taken = |port: u16| {
        let is_it = |key: &str, of: &Value| of[key].as_u64() == Some(u64::from(port));
        ports().any(|of| is_it("containerPort", of) || is_it("hostPort", of))
            || targets.iter().any(|target| target.port == port)
    };
    let start = if pod["spec"]["hostNetwork"] == true { hash(&workload(pod, place)) % PORTS } else { 0 };
    let candidates = (0..PORTS).map(|at| first.checked_add((start + at) % PORTS));
    candidates.flatten().find(|port| !taken(*port)).ok_or_else(|| {
        Left::new(
            Skip::PortClash,
            format!("every port from {first} to {} is taken", first.saturating_add(PORTS - 1)),
        )
    })
}

/// What all copies of a pod have in common.
fn workload(pod: &Value, place: &Place) -> String {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &pod["metadata"];
    let generated = of(&metadata["generateName"]);
    let name = if generated.is_empty() { of(&metadata["name"]) } else { generated };
    format!("{}/{name}", place.namespace)
}

/// FNV-1a: the same on every machine and in every version.
fn hash(text: &str) -> u16 {
    let mixed =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (mixed >> 16) as u16 ^ mixed as u16
}

/// Its own name, unless the pod has a port of that name.
fn port_name(pod: &Value) -> String {
    let named = |name: &str| {
        let ports = |container: &Value| {
            container["ports"].as_array().is_some_and(|ports| ports.iter().any(|port| port["name"] == name))
        };
        list(pod, "containers").iter().chain(list(pod, "initContainers")).any(ports)
    };
    if !named(PORT_NAME) {
        return PORT_NAME.to_owned();
    }
    let mut numbered = (2..100).map(|at| format!("{PORT_NAME}-{at}"));
    numbered.find(|name| !named(name)).unwrap_or_else(|| PORT_NAME.to_owned())
}

fn arguments(port: u16, settings: &Settings, targets: &[Target]) -> Vec<String> {
    let name = if targets.iter().any(|target| target.is_node) { "$(NODE_NAME)" } else { "$(POD_NAME)" };
    let mut arguments = vec![
        "run".to_owned(),
        // A bad ConfigMap never keeps a pod from starting.
        "--config.on-error=degraded".to_owned(),
        // Both kinds of addresses; the sidecar puts one of IPv6 into brackets.
        format!("--web.listen-address=:{port}"),
        format!("--web.external-url=http://$(POD_IP):{port}"),
        format!("--instance={name}"),
    ];
    if settings.config_map.is_some() {
        arguments.push(format!("--config.file={CONFIG}/anomaly-detection.yaml"));
    }
    arguments
}

/// What the pod is called where its targets are.
fn job(pod: &Value) -> String {
    let label = |name: &str| pod["metadata"]["labels"][name].as_str();
    let named = label("app.kubernetes.io/name").or_else(|| label("app"));
    let first = || running(pod).next().and_then(|container| container["name"].as_str());
    named.or_else(first).unwrap_or("pod").to_owned()
}

fn environment(policy: &Policy, settings: &Settings, targets: &[Target], job: &str) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let plain = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut environment = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
        field("NODE_NAME", "spec.nodeName"),
        plain("DWCP_DEFAULTS", &defaults(policy, settings, targets, job).to_string()),
        plain("DWCP__STORAGE__PATH", STATE),
        plain("DWCP__DETECTOR__MODELS__PATH", &format!("{STATE}/models")),
    ];
    // A DaemonSet, or another pod with an exporter, may watch the node as well.
    if targets.iter().any(|target| target.is_node) {
        environment.push(plain("DWCP__ALERT__SHARED_NODES", "true"));
    }
    if let Some(interval) = settings.check_interval {
        environment.push(plain("DWCP__CHECK_INTERVAL", &interval.to_string()));
    }
    if settings.secret.is_none() {
        for channel in ["SLACK", "PAGERDUTY", "WEBHOOK", "EMAIL"] {
            environment.push(plain(&format!("DWCP__ALERT__{channel}_ENABLED"), "false"));
        }
    }
    environment
}

/// The configuration under the pod's own: the policy's, the profile's over it, and the targets.
fn defaults(policy: &Policy, settings: &Settings, targets: &[Target], job: &str) -> Value {
    let mut merged = json!({"check_interval": "10s"});
    lay(&mut merged, &escaped(&policy.defaults));
    lay(&mut merged, &escaped(&settings.profile.defaults));
    if !targets.is_empty() {
        let target = |target: &Target| {
            let job = if target.is_node { "node" } else { job };
            json!({
                "url": escaped(&json!(target.url)),
                "labels": {"job": job, "namespace": "$(POD_NAMESPACE)", "pod": "$(POD_NAME)"},
                "scope": if target.is_node { "node" } else { "pod" },
            })
        };
        merged["scrape"]["targets"] = targets.iter().map(target).collect();
    }
    merged
}

/// Puts `over` on `base`, key by key.
fn lay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay(base.entry(key.clone()).or_insert_with(|| json!({})), value);
            }
        }
        (_, Value::Null) => {}
        (base, over) => *base = over.clone(),
    }
}

/// The kubelet puts variables in for `$(NAME)` and makes one dollar of two; so texts have two.
fn escaped(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text.replace('$', "$$")),
        Value::Array(all) => all.iter().map(escaped).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.replace('$', "$$"), escaped(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// Requests and limits that leave the pod's class as it is.
fn resources(pod: &Value, policy: &Policy, settings: &Settings) -> Value {
    let asked = &settings.resources;
    let mut requests = json!({"ephemeral-storage": LEAST_STATE});
    let mut limits = json!({"ephemeral-storage": policy.state_size.to_string()});
    let class = qos::class(pod);
    // What the pod has as a whole is shared; what a pod without any is given makes it one with some.
    if class != Class::BestEffort && !qos::of_pod(pod) {
        let reserved = if class == Class::Guaranteed { &asked.limits } else { &asked.requests };
        for (of, amounts) in [(&mut requests, reserved), (&mut limits, &asked.limits)] {
            of["cpu"] = json!(amounts.cpu.to_string());
            of["memory"] = json!(amounts.memory.to_string());
        }
    }
    json!({"requests": requests, "limits": limits})
}

/// What the profile `restricted` of Pod Security asks for, and more.
fn security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 65532,
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// Names of the volumes that are free in the pod.
struct Volumes {
    state: String,
    no_token: String,
    config: String,
    secret: String,
}

impl Volumes {
    fn name(pod: &Value) -> Result<Self, Left> {
        let taken = |name: &str| list(pod, "volumes").iter().any(|volume| volume["name"] == name);
        let free = |what: &str| {
            let plain = format!("{CONTAINER}-{what}");
            let numbered = (2..10).map(|at| format!("{CONTAINER}-{what}-{at}"));
            let told = || Left::new(Skip::NameClash, format!("volumes named {plain} are there already"));
            std::iter::once(plain.clone()).chain(numbered).find(|name| !taken(name)).ok_or_else(told)
        };
        Ok(Self {
            state: free("state")?,
            no_token: free("no-token")?,
            config: free("config")?,
            secret: free("secret")?,
        })
    }

    fn mounts(&self, settings: &Settings) -> Vec<Value> {
        let mut mounts = vec![
            json!({"name": self.state, "mountPath": STATE}),
            // With something there, the server does not mount the token.
            json!({"name": self.no_token, "mountPath": TOKEN, "readOnly": true}),
        ];
        if settings.config_map.is_some() {
            mounts.push(json!({"name": self.config, "mountPath": CONFIG, "readOnly": true}));
        }
        if settings.secret.is_some() {
            mounts.push(json!({"name": self.secret, "mountPath": SECRET, "readOnly": true}));
        }
        mounts
    }

    fn all(&self, policy: &Policy, settings: &Settings) -> Vec<Value> {
        let mut volumes = vec![
            json!({"name": self.state, "emptyDir": {"sizeLimit": policy.state_size.to_string()}}),
            json!({"name": self.no_token, "emptyDir": {"sizeLimit": "1Mi"}}),
        ];
        // Optional: one that is not there must not keep the pod from starting.
        if let Some(name) = &settings.config_map {
            volumes.push(json!({"name": self.config, "configMap": {"name": name, "optional": true}}));
        }
        if let Some(name) = &settings.secret {
            volumes.push(json!({"name": self.secret, "secret": {"secretName": name, "optional": true}}));
        }
        volumes
    }
}
