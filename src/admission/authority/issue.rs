//! From the certificates that there are to those that there should be: pure but for the keys, which are drawn.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::time::ASN1Time;

const DAY: i64 = 86_400;
/// An authority is good for so long; its successor comes when a third is left.
const AUTHORITY: i64 = 360 * DAY;
/// A serving certificate.
const CERTIFICATE: i64 = 90 * DAY;
/// Clocks that are behind by less take a new certificate.
const SKEW: i64 = 3600;
/// From the publication of an authority to the first certificate of it: so long may an API server take to notice.
const NOTICE: i64 = 120;

/// All that the Secret holds, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    /// Authorities to be trusted, the newest first.
    pub(super) bundle: String,
    /// The newest one's key.
    pub(super) authority_key: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// What matters of a certificate.
struct Facts {
    pem: String,
    subject: String,
    issuer: String,
    from: i64,
    until: i64,
    hosts: Vec<String>,
}

/// What there should be at `now`; `before` itself if that is as it should be. `published` is the bundle that the API
/// server has.
pub(super) fn next(
    before: Option<&Material>,
    published: &str,
    hosts: &[String],
    now: i64,
) -> Result<Material, String> {
    let Some(known) = before.and_then(|material| Known::of(material, now)) else {
        return new(hosts, now);
    };
    let newest = &known.authorities[0];
    let (bundle, authority_key) = if left(newest, now) < (newest.until - newest.from) / 3 {
        let (pem, key) = authority(now)?;
        (std::iter::once(pem.as_str()).chain(known.pems()).collect::<String>(), key)
    } else {
        (known.pems().collect(), known.material.authority_key.clone())
    };
    let is_trusted = published.contains(newest.pem.trim()) && now - (newest.from + SKEW) >= NOTICE;
    let serving = &known.serving;
    let is_due = left(serving, now) < (serving.until - serving.from) / 3;
    let is_others = serving.issuer != newest.subject;
    let is_named = hosts.iter().all(|host| serving.hosts.contains(host));
    // A certificate that has ended is worse than one whose authority is not published yet.
    let must = (is_due || is_others || !is_named) && (is_trusted || !is_others) || left(serving, now) <= 0;
    let (certificate, key) = if must && authority_key == known.material.authority_key {
        leaf(&newest.pem, &authority_key, hosts, now)?
    } else {
        (known.material.certificate.clone(), known.material.key.clone())
    };
    Ok(Material { bundle, authority_key, certificate, key })
}

/// Material that can be read and whose authority has not ended.
struct Known<'a> {
    material: &'a Material,
    authorities: Vec<Facts>,
    serving: Facts,
}

impl<'a> Known<'a> {
    fn of(material: &'a Material, now: i64) -> Option<Self> {
        let authorities = facts(&material.bundle)?;
        // What has ended is trusted no more.
        let authorities: Vec<Facts> = authorities.into_iter().filter(|one| left(one, now) > 0).collect();
        let key = KeyPair::from_pem(&material.authority_key).ok()?;
        let newest = authorities.first()?;
        let is_its_key = Issuer::from_ca_cert_pem(&newest.pem, &key).is_ok() && has_key(newest, &key);
        let serving = facts(&material.certificate)?.into_iter().next()?;
        let is_trusted = authorities.iter().any(|one| one.subject == serving.issuer);
        (is_its_key && is_trusted).then_some(Self { material, authorities, serving })
    }

    fn pems(&self) -> impl Iterator<Item = &str> {
        self.authorities.iter().map(|authority| authority.pem.as_str())
    }
}

fn left(of: &Facts, now: i64) -> i64 {
    of.until - now
}

fn has_key(of: &Facts, key: &KeyPair) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(of.pem.as_bytes()) else { return false };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else { return false };
    parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
}

fn facts(pem: &str) -> Option<Vec<Facts>> {
    const END: &str = "-----END CERTIFICATE-----\n";
    pem.split_inclusive(END).filter(|part| !part.trim().is_empty()).map(fact).collect()
}

fn fact(pem: &str) -> Option<Facts> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let hosts = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        x509_parser::extensions::GeneralName::DNSName(host) => Some((*host).to_owned()),
        _ => None,
    });
    Some(Facts {
        pem: pem.to_owned(),
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        from: parsed.validity().not_before.timestamp(),
        until: parsed.validity().not_after.timestamp(),
        hosts: hosts.collect(),
    })
}

fn new(hosts: &[String], now: i64) -> Result<Material, String> {
    let (bundle, authority_key) = authority(now)?;
    let (certificate, key) = leaf(&bundle, &authority_key, hosts, now)?;
    Ok(Material { bundle, authority_key, certificate, key })
}

fn told(error: impl std::fmt::Display) -> String {
    format!("certificate not made: {error}")
}

fn validity(params: &mut CertificateParams, now: i64, lasts: i64) -> Result<(), String> {
    params.not_before = ASN1Time::from_timestamp(now - SKEW).map_err(told)?.to_datetime();
    params.not_after = ASN1Time::from_timestamp(now + lasts).map_err(told)?.to_datetime();
    Ok(())
}

/// A new authority and its key. Its name has the time, so that it is told from the one before.
fn authority(now: i64) -> Result<(String, String), String> {
    let key = KeyPair::generate().map_err(told)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(told)?;
    params.distinguished_name.push(DnType::CommonName, format!("dwcp-injector-{now}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, AUTHORITY)?;
    let certificate = params.self_signed(&key).map_err(told)?;
    Ok((unix(&certificate.pem()), unix(&key.serialize_pem())))
}

/// A serving certificate of an authority, and its key.
fn leaf(
    authority: &str,
    authority_key: &str,
    hosts: &[String],
    now: i64,
) -> Result<(String, String), String> {
    let issuer_key = KeyPair::from_pem(authority_key).map_err(told)?;
    let issuer = Issuer::from_ca_cert_pem(authority, issuer_key).map_err(told)?;
    let key = KeyPair::generate().map_err(told)?;
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(told)?;
    params.distinguished_name.push(DnType::CommonName, hosts.first().map_or("dwcp-injector", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now, CERTIFICATE)?;
    let certificate = params.signed_by(&key, &issuer).map_err(told)?;
    Ok((unix(&certificate.pem()), unix(&key.serialize_pem())))
}

/// With one kind of line end, whatever the encoder has.
fn unix(pem: &str) -> String {
    pem.replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn hosts() -> Vec<String> {
        vec!["a.b.svc".to_owned()]
    }

    fn step(before: &Material, published: &str, now: i64) -> Material {
        next(Some(before), published, &hosts(), now).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether a client that trusts `bundle` takes the certificate.
    fn is_accepted(bundle: &str, certificate: &str, now: i64) -> bool {
        let serving = fact(certificate).unwrap();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .unwrap();
        let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now as u64));
        let name = serving.hosts[0].clone().try_into().unwrap();
        rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, &der, &[], &name, &[], at)
            .is_ok()
    }

    #[test]
    fn through_years_of_rotation_what_is_served_is_trusted_by_whoever_has_the_last_published_bundle() {
        let mut material = next(None, "", &hosts(), NOW).unwrap_or_else(|error| panic!("{error}"));
        let mut published = material.bundle.clone();
        let (mut authorities, mut certificates, mut rotations) = (1, 1, 0);
        for hour in (0..3 * 365 * 24).step_by(6) {
            let now = NOW + hour * 3600;
            let after = step(&material, &published, now);
            assert!(is_accepted(&published, &after.certificate, now), "hour {hour}, before the publication");
            assert!(is_accepted(&after.bundle, &after.certificate, now), "hour {hour}, after it");
            assert!(facts(&after.bundle).unwrap().len() <= 2);
            authorities += usize::from(after.authority_key != material.authority_key);
            certificates += usize::from(after.certificate != material.certificate);
            rotations += usize::from(after != material);
            published.clone_from(&after.bundle);
            material = after;
        }
        assert_eq!(authorities, 5, "one for each 240 days");
        assert!((15..30).contains(&certificates), "{certificates}");
        assert!(rotations < 40, "{rotations}");
    }

    #[test]
    fn an_authority_that_is_not_published_signs_nothing() {
        let first = next(None, "", &hosts(), NOW).unwrap_or_else(|error| panic!("{error}"));
        let late = NOW + 250 * DAY;
        // The certificate itself was renewed meanwhile.
        let (certificate, key) = leaf(&first.bundle, &first.authority_key, &hosts(), late).unwrap();
        let first = Material { certificate, key, ..first };
        let second = step(&first, &first.bundle, late);
        assert!(second.bundle.ends_with(&first.bundle) && second.bundle != first.bundle);
        assert_eq!(second.certificate, first.certificate);
        let unpublished = step(&second, &first.bundle, late + 600);
        assert!(unpublished == second);
        let noticed = step(&second, &second.bundle, late + NOTICE - 1);
        assert!(noticed == second, "an API server may not have noticed yet");
        let third = step(&second, &second.bundle, late + NOTICE);
        assert_ne!(third.certificate, second.certificate);
    }

    #[test]
    fn what_cannot_be_read_is_made_anew() {
        let good = next(None, "", &hosts(), NOW).unwrap_or_else(|error| panic!("{error}"));
        assert!(step(&good, &good.bundle, NOW + 1) == good);
        let other = next(None, "", &hosts(), NOW).unwrap_or_else(|error| panic!("{error}"));
        for bad in [
            Material { bundle: "x".to_owned(), ..good.clone() },
            Material { authority_key: other.authority_key.clone(), ..good.clone() },
            Material { authority_key: "x".to_owned(), ..good.clone() },
            Material { certificate: String::from("x"), ..good.clone() },
        ] {
            let made = step(&bad, &good.bundle, NOW);
            assert!(made.authority_key != good.authority_key);
            assert!(is_accepted(&made.bundle, &made.certificate, NOW));
        }
        let renamed = next(Some(&good), &good.bundle, &["other.svc".to_owned()], NOW + NOTICE)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(fact(&renamed.certificate).unwrap().hosts, ["other.svc"]);
    }
}
