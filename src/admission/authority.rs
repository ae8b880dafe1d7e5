//! Certificates of our own: made, rotated and published by one of the injectors, read by all.
//!
//! The Secret holds an authority's key, the bundle of authorities that are to be trusted, and the serving certificate.
//! A new authority is first only trusted: its bundle is published beside the old one's, and certificates come from it once
//! the API server has it. So no moment passes in which a certificate is served that is not trusted.

mod cluster;
mod issue;
mod lease;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use cluster::{Cluster, Problem};
use issue::Material;
use lease::Lease;

use super::certificate::Serving;
use super::metrics::Metrics;

/// Between two looks at the cluster.
const PACE: Duration = Duration::from_secs(10);

/// Names of what is managed.
#[derive(Clone, Debug)]
pub struct Names {
    /// Where the injector runs.
    pub namespace: String,
    /// The Service that the API server calls; the Secret is called so with `-tls` after it, the Lease as it is.
    pub service: String,
    /// The `MutatingWebhookConfiguration`.
    pub webhook: String,
    /// This injector among its copies.
    pub identity: String,
}

/// One injector's part in it.
pub struct Authority {
    names: Names,
    cluster: Cluster,
    lease: Lease,
    serving: Arc<Serving>,
    metrics: Arc<Metrics>,
    /// The certificate that is served.
    installed: Option<(Vec<u8>, Vec<u8>)>,
}

impl Authority {
    /// Nothing is asked for before [`Authority::run`].
    pub fn new(names: Names, cluster: Cluster, serving: Arc<Serving>, metrics: Arc<Metrics>) -> Self {
        let path =
            format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}", names.namespace, names.service);
        let lease = Lease::new(path, names.service.clone(), names.identity.clone());
        Self { names, cluster, lease, serving, metrics, installed: None }
    }

    /// Looks after the certificate until `stop`, and then lets another lead.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            if let Err(problem) = self.round().await {
                self.metrics.certificate_failed();
                tracing::error!(%problem, "certificates not looked after; the one before stays");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(PACE) => {}
            }
        }
        if let Err(problem) = self.lease.release(&self.cluster).await {
            tracing::warn!(%problem, "lease not released; it ends by itself");
        }
    }

    /// One look: leads if nobody does, makes what is missing, serves what is there.
    pub async fn round(&mut self) -> Result<(), Problem> {
        // Who cannot reach the lease does not lead, and still serves what is there.
        let leads = self.lease.hold(&self.cluster).await;
        self.metrics.leads(matches!(leads, Ok(true)));
        let mut secret = self.cluster.get(&self.secret_path()).await?;
        if matches!(leads, Ok(true)) {
            secret = Some(self.lead(secret).await?);
        }
        if let Some(material) = secret.as_ref().and_then(material) {
            self.install(&material)?;
        }
        leads.map(|_| ())
    }

    async fn lead(&self, secret: Option<Value>) -> Result<Value, Problem> {
        let configuration = self.cluster.get(&self.webhook_path()).await?;
        let configuration = configuration.ok_or_else(|| {
            Problem::new(format!("there is no MutatingWebhookConfiguration {}", self.names.webhook))
        })?;
        let (before, now) = (secret.as_ref().and_then(material), unix_now());
        let hosts = self.hosts();
        let next =
            issue::next(before.as_ref(), &published(&configuration), &hosts, now).map_err(Problem::new)?;
        let secret = match (&secret, before.as_ref() == Some(&next)) {
            (Some(secret), true) => secret.clone(),
            (found, _) => {
                tracing::info!("certificates made");
                self.keep(found.as_ref(), &next).await?
            }
        };
        // What is kept is published, never the other way round: another may take over in between.
        self.publish(&configuration, &next.bundle).await?;
        Ok(secret)
    }

    /// Writes the Secret; that another has written it meanwhile is an error, and the next round reads it.
    async fn keep(&self, found: Option<&Value>, material: &Material) -> Result<Value, Problem> {
        let mut secret = found.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"name": self.secret_name(), "namespace": self.names.namespace},
            })
        });
        secret["data"] = json!({
            "ca.crt": STANDARD.encode(&material.bundle),
            "ca.key": STANDARD.encode(&material.authority_key),
            "tls.crt": STANDARD.encode(&material.certificate),
            "tls.key": STANDARD.encode(&material.key),
        });
        match found {
            Some(_) => self.cluster.update(&self.secret_path(), &secret).await,
            None => self.cluster.create(&self.secrets_path(), &secret).await,
        }
    }

    async fn publish(&self, configuration: &Value, bundle: &str) -> Result<(), Problem> {
        let wanted = STANDARD.encode(bundle);
        let mut operations = Vec::new();
        for (at, webhook) in configuration["webhooks"].as_array().into_iter().flatten().enumerate() {
            if webhook["clientConfig"]["caBundle"] != wanted.as_str() {
                operations.push(
                    json!({"op": "test", "path": format!("/webhooks/{at}/name"), "value": webhook["name"]}),
                );
                let path = format!("/webhooks/{at}/clientConfig/caBundle");
                operations.push(json!({"op": "add", "path": path, "value": wanted}));
            }
        }
        if operations.is_empty() {
            return Ok(());
        }
        self.cluster.patch(&self.webhook_path(), &operations.into()).await?;
        tracing::info!(webhook = self.names.webhook, "bundle published");
        Ok(())
    }

    fn install(&mut self, material: &Material) -> Result<(), Problem> {
        let pair = (material.certificate.clone().into_bytes(), material.key.clone().into_bytes());
        if self.installed.as_ref() == Some(&pair) {
            return Ok(());
        }
        let ends_at = self.serving.install(&pair.0, &pair.1).map_err(Problem::new)?;
        self.metrics.certificate(ends_at);
        self.installed = Some(pair);
        tracing::info!("certificate taken up");
        Ok(())
    }

    /// What the API server calls us.
    fn hosts(&self) -> Vec<String> {
        let short = format!("{}.{}.svc", self.names.service, self.names.namespace);
        vec![short.clone(), format!("{short}.cluster.local")]
    }

    fn secret_name(&self) -> String {
        format!("{}-tls", self.names.service)
    }

    fn secrets_path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.names.namespace)
    }

    fn secret_path(&self) -> String {
        format!("{}/{}", self.secrets_path(), self.secret_name())
    }

    fn webhook_path(&self) -> String {
        format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}", self.names.webhook)
    }
}

/// What a Secret holds; `None` if something is missing or is no text.
fn material(secret: &Value) -> Option<Material> {
    let text = |name: &str| {
        let bytes = STANDARD.decode(secret["data"][name].as_str()?).ok()?;
        String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
    };
    Some(Material {
        bundle: text("ca.crt")?,
        authority_key: text("ca.key")?,
        certificate: text("tls.crt")?,
        key: text("tls.key")?,
    })
}

/// The bundle that every webhook of the configuration has; empty unless they agree.
fn published(configuration: &Value) -> String {
    let bundles = configuration["webhooks"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|webhook| {
        let bytes = STANDARD.decode(webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default());
        bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    });
    let bundles: Vec<String> = bundles.collect();
    match bundles.split_first() {
        Some((first, rest)) if rest.iter().all(|bundle| bundle == first) => first.clone(),
        _ => String::new(),
    }
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}
