//! Certificates of the injector's own, before a stand-in for the API server that keeps and records: it refuses what a real
//! one refuses (a wrong token, an old version, a name that is there), and there is none at hand by default.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use crate::servers::wait_for;
use crate::tools::{objects, program, root};
use crate::webhook_server::{Webhook, certify};

const TOKEN: &str = "a-token-that-nobody-may-see";
const WEBHOOK: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/dwcp-injector";
const SECRET: &str = "/api/v1/namespaces/dwcp-system/secrets/dwcp-injector-tls";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/dwcp-system/leases/dwcp-injector";

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Value>,
    calls: Vec<(String, String)>,
    version: u64,
}

#[derive(Clone)]
struct ApiServer {
    kept: Arc<Mutex<Kept>>,
    port: u16,
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut kept = kept.lock().unwrap();
    let path = uri.path().to_owned();
    kept.calls.push((method.to_string(), path.clone()));
    let refused =
        |status: StatusCode| (status, json!({"kind": "Status", "message": status.to_string()}).to_string());
    if headers.get("authorization").is_none_or(|given| given != format!("Bearer {TOKEN}").as_str()) {
        return refused(StatusCode::UNAUTHORIZED);
    }
    let given: Value = serde_json::from_slice(&body).unwrap_or_default();
    kept.version += 1;
    let version = json!(kept.version.to_string());
    let mut object = match method {
        Method::GET => {
            return kept
                .objects
                .get(&path)
                .map_or_else(|| refused(StatusCode::NOT_FOUND), |o| (StatusCode::OK, o.to_string()));
        }
        Method::POST => {
            let path = format!("{path}/{}", given["metadata"]["name"].as_str().unwrap());
            if kept.objects.contains_key(&path) {
                return refused(StatusCode::CONFLICT);
            }
            let mut object = given;
            object["metadata"]["resourceVersion"] = version;
            kept.objects.insert(path, object.clone());
            return (StatusCode::CREATED, object.to_string());
        }
        Method::PUT => match kept.objects.get(&path) {
            Some(known) if known["metadata"]["resourceVersion"] == given["metadata"]["resourceVersion"] => {
                given
            }
            Some(_) => return refused(StatusCode::CONFLICT),
            None => return refused(StatusCode::NOT_FOUND),
        },
        Method::PATCH => {
            assert_eq!(headers["content-type"], "application/json-patch+json");
            let mut object = kept.objects[&path].clone();
            let patch: json_patch::Patch = serde_json::from_value(given).unwrap();
            json_patch::patch(&mut object, &patch).unwrap();
            object
        }
        _ => return refused(StatusCode::METHOD_NOT_ALLOWED),
    };
    object["metadata"]["resourceVersion"] = version;
    kept.objects.insert(path, object.clone());
    (StatusCode::OK, object.to_string())
}

impl ApiServer {
    /// Over TLS, with the files of a service account in `account`.
    fn start(account: &Path) -> Self {
        certify(account);
        std::fs::rename(account.join("tls.crt"), account.join("ca.crt")).unwrap();
        std::fs::write(account.join("token"), format!("{TOKEN}\n")).unwrap();
        std::fs::write(account.join("namespace"), "dwcp-system").unwrap();
        let serving = Arc::new(dwcp_anomaly::admission::certificate::Serving::default());
        let read = |name: &str| std::fs::read(account.join(name)).unwrap();
        serving.install(&read("ca.crt"), &read("tls.key")).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(serving);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let webhooks = json!([{"name": "inject.dwcp.io", "clientConfig": {}}, {"name": "other.dwcp.io", "clientConfig": {}}]);
        let configuration = json!({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "dwcp-injector"}, "webhooks": webhooks});
        let kept = Kept { objects: BTreeMap::from([(WEBHOOK.to_owned(), configuration)]), ..Kept::default() };
        let kept = Arc::new(Mutex::new(kept));
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&kept));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, router) = (acceptor.clone(), router.clone());
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let service = TowerToHyperService::new(router);
                        let connection = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service);
                        let _ = connection.await;
                    });
                }
            });
        });
        Self { kept, port }
    }

    fn object(&self, path: &str) -> Option<Value> {
        self.kept.lock().unwrap().objects.get(path).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Value>)) {
        change(&mut self.kept.lock().unwrap().objects);
    }

    fn injector(&self, account: &Path) -> Webhook {
        let arguments = [
            "--tls.self-managed".to_owned(),
            format!("--kubernetes.url=https://localhost:{}", self.port),
            format!("--kubernetes.service-account={}", account.display()),
        ];
        Webhook::start_with(&arguments, tempfile::tempdir().unwrap()).ready()
    }

    /// The bundle of every webhook, when all have the same.
    fn bundle(&self) -> Option<String> {
        let configuration = self.object(WEBHOOK)?;
        let all: BTreeSet<String> = configuration["webhooks"]
            .as_array()?
            .iter()
            .map(|webhook| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned())
            .collect();
        let [one]: [String; 1] = all.into_iter().collect::<Vec<_>>().try_into().ok()?;
        String::from_utf8(STANDARD.decode(one).ok()?).ok().filter(|bundle| !bundle.is_empty())
    }
}

/// Whether who trusts the published bundle takes the certificate of the Service's name.
fn is_trusted(webhook: &Webhook, bundle: &str) -> bool {
    let file = webhook.directory.path().join("bundle.pem");
    std::fs::write(&file, bundle).unwrap();
    let done = Command::new("curl")
        .args(["-sf", "--max-time", "5", "--cacert", file.to_str().unwrap()])
        .args(["--connect-to", &format!("dwcp-injector.dwcp-system.svc:443:127.0.0.1:{}", webhook.port)])
        .arg("https://dwcp-injector.dwcp-system.svc/readyz")
        .output()
        .unwrap();
    done.status.success()
}

fn leads(webhook: &Webhook) -> bool {
    webhook.get("/metrics").unwrap().contains("dwcp_injector_leader 1\n")
}

/// What each call needs: verb, resource, and whether it is about one by its name.
fn permissions(calls: &[(String, String)]) -> BTreeSet<(String, String, bool)> {
    let needed = |(method, path): &(String, String)| {
        let parts: Vec<&str> = path.split('/').collect();
        let kinds = ["secrets", "leases", "mutatingwebhookconfigurations"];
        let at = parts.iter().position(|part| kinds.contains(part)).unwrap();
        let verb = match method.as_str() {
            "GET" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            other => panic!("{other}"),
        };
        (verb.to_owned(), parts[at].to_owned(), parts.len() > at + 1)
    };
    calls.iter().map(needed).collect()
}

fn granted() -> BTreeSet<(String, String, bool)> {
    let overlay = root().join("k8s/overlays/self-managed");
    let output = Command::new(program("kubectl")).arg("kustomize").arg(overlay).output().unwrap();
    let all = objects(&String::from_utf8(output.stdout).unwrap());
    let roles = all.iter().filter(|object| object["kind"] == "Role" || object["kind"] == "ClusterRole");
    let mut granted = BTreeSet::new();
    for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
        let texts = |name: &str| -> Vec<String> {
            let all = rule[name].as_array().into_iter().flatten();
            all.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        for (verb, resource) in texts("verbs")
            .iter()
            .flat_map(|verb| texts("resources").into_iter().map(move |r| (verb.clone(), r)))
        {
            granted.insert((verb, resource, !texts("resourceNames").is_empty()));
        }
    }
    granted
}

#[test]
fn injectors_make_publish_and_share_a_certificate_and_hand_over_with_no_more_permissions_than_they_have() {
    let account = tempfile::tempdir().unwrap();
    let server = ApiServer::start(account.path());
    let patience = Duration::from_secs(25);
    let mut first = server.injector(account.path());
    wait_for("bundle", patience, || server.bundle().is_some());
    let bundle = server.bundle().unwrap();
    assert!(is_trusted(&first, &bundle) && leads(&first));
    let second = server.injector(account.path());
    assert!(is_trusted(&second, &bundle) && !leads(&second), "the second serves the first's certificate");
    // Somebody applies the manifests again, which have no bundle.
    server.change(|objects| objects.get_mut(WEBHOOK).unwrap()["webhooks"][1]["clientConfig"] = json!({}));
    wait_for("bundle again", patience, || server.bundle().as_deref() == Some(&bundle));
    // The leader leaves, and says so.
    assert!(Command::new("kill").args(["-TERM", &first.id().to_string()]).status().unwrap().success());
    assert!(first.finish().success());
    wait_for("handing over", patience, || leads(&second));
    assert_eq!(server.object(LEASE).unwrap()["spec"]["leaseTransitions"], 1);
    // And the Secret is lost: a new authority, trusted before its certificate is served.
    server.change(|objects| drop(objects.remove(SECRET)));
    wait_for("another bundle", patience, || {
        server.bundle().is_some_and(|other| other != bundle && is_trusted(&second, &other))
    });
    // An old certificate, which the API server would take for ours no more.
    let secret = server.object(SECRET).unwrap();
    server.change(|objects| objects.get_mut(SECRET).unwrap()["data"]["tls.crt"] = json!("bm9uc2Vuc2U="));
    wait_for("repair", patience, || server.object(SECRET).unwrap()["data"]["tls.crt"] != "bm9uc2Vuc2U=");
    assert_ne!(server.object(SECRET).unwrap()["data"], secret["data"]);
    assert_eq!(permissions(&server.kept.lock().unwrap().calls), granted());
    // A token that is not taken is a counted failure, and is not told.
    std::fs::write(account.path().join("token"), format!("wrong-{TOKEN}")).unwrap();
    wait_for("failure", patience, || {
        !second.get("/metrics").unwrap().contains("certificate_failures_total 0\n")
    });
    assert!(second.get("/readyz").is_some());
    let log = std::fs::read_to_string(second.directory.path().join("log")).unwrap();
    assert!(log.contains("401") && !log.contains(TOKEN) && !log.contains("PRIVATE"), "{log}");
}
