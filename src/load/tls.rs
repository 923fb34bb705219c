//! Whom a target must prove to be, and what this side shows: a public root or the user's own, and a client certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::error::LoadError;

/// What a user said about certificates; nothing means the public roots and no certificate of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// A PEM file of authorities that are trusted instead of the public ones.
    pub authority: Option<PathBuf>,
    /// PEM files of a certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What opens the secure side of each connection.
#[derive(Clone, Debug)]
pub struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Secure {
    /// `protocol` is what the target must agree to speak, where it is not HTTP/1.1.
    pub fn new(trust: &Trust, host: &str, protocol: Option<&[u8]>) -> Result<Self, LoadError> {
        let mut roots = RootCertStore::empty();
        match &trust.authority {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|e| unreadable(path, &e))?;
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let asked = |e: rustls::Error| LoadError::Asked(format!("TLS cannot be set up: {e}"));
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(asked)?.with_root_certificates(roots);
        let mut config = match &trust.identity {
            Some((certificate, key)) => {
                let own = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
                builder.with_client_auth_cert(certificates(certificate)?, own).map_err(asked)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| LoadError::Asked(format!("{host} is not a name that a certificate can hold")))?;
        Ok(Self { config: Arc::new(config), name })
    }

    pub fn open(&self) -> std::io::Result<Box<ClientConnection>> {
        let made = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        made.map(Box::new).map_err(std::io::Error::other)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|e| unreadable(path, &e))?;
    if found.is_empty() { Err(unreadable(path, &"it holds no certificate in PEM")) } else { Ok(found) }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> LoadError {
    LoadError::File { name: path.display().to_string(), why: why.to_string() }
}
