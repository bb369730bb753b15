//! The certificate of the server, read again when its files change.

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::options::TlsFiles;
use super::watched_file::Watched;

/// Makes connections encrypted.
pub(super) struct Tls {
    config: Watched<ServerConfig>,
}

impl Tls {
    /// Reads the files; the reason if they cannot be used.
    pub(super) fn new(files: &TlsFiles) -> Result<Self, String> {
        let of = files.clone();
        let config = Watched::new(&[&files.certificates, &files.key], move || {
            let config = read(&of)?;
            tracing::info!(certificate = %of.certificates.display(), "read the certificate of HTTP");
            Ok(config)
        })?;
        Ok(Self { config })
    }

    /// With the certificate as it is now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.get())
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, String> {
    let TlsFiles { certificates, key } = files;
    let wrong = |path: &std::path::Path, reason: &dyn std::fmt::Display| format!("`{}`: {reason}", path.display());
    let chain = CertificateDer::pem_file_iter(certificates).map_err(|e| wrong(certificates, &e))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(certificates, &e))?;
    if chain.is_empty() {
        return Err(wrong(certificates, &"it holds no certificate in PEM"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, &e))?;
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| wrong(key, &format!("it does not fit `{}`: {e}", certificates.display())))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
