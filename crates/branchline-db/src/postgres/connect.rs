//! Reaching a PostgreSQL server: by socket or TCP, with TLS where the URL or the distance asks for it.
//!
//! | `sslmode` | what is done |
//! |---|---|
//! | `disable` | no TLS |
//! | not said, or `prefer` | none to this machine itself; elsewhere TLS where the server offers it, certificate checked |
//! | `require`, `verify-ca`, `verify-full` | TLS, certificate and name checked by the operating system's trust roots |
//!
//! A certificate is never accepted unchecked. The connection's driver is the one task that this crate starts: it
//! moves bytes for a session, ends with it, and is aborted when the session is dropped.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use branchline_core::ports::DatabaseError;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::causes;

/// How long a server may take to answer where the URL says nothing of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a database is, and how to get there.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    config: Config,
    tls: bool,
}

impl Target {
    /// Reads a URL.
    pub(crate) fn parse(url: &str) -> Result<Self, DatabaseError> {
        let refuse = |reason: String| DatabaseError::Url { reason };
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(refuse("it does not begin with postgresql://".to_owned()));
        }
        // This program knows one strength of checking only, so that the stronger words mean the same.
        let url = url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut config = Config::from_str(&url).map_err(|error| refuse(causes(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refuse("it names no host".to_owned()));
        }
        if config.get_user().is_none() {
            return Err(refuse("it names no user".to_owned()));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.application_name("branchline");
        let here = config.get_hosts().iter().all(is_this_machine);
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => false,
            SslMode::Prefer => !here,
            _ => true,
        };
        if !tls {
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self { config, tls })
    }

    /// Host, port and database, for messages; never the password.
    pub(crate) fn address(&self) -> String {
        let host = self.config.get_hosts().first().map_or_else(String::new, host_text);
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{host}:{port}/{database}")
    }

    /// Opens a connection and starts its driver.
    pub(crate) async fn connect(&self) -> Result<(Client, Driver), DatabaseError> {
        if self.tls {
            self.connect_with(MakeRustlsConnect::new(self.tls_config()?)).await
        } else {
            self.connect_with(NoTls).await
        }
    }

    async fn connect_with<T>(&self, tls: T) -> Result<(Client, Driver), DatabaseError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) =
            Box::pin(self.config.connect(tls)).await.map_err(|error| self.unreachable(causes(&error)))?;
        let run = async move {
            if let Err(error) = connection.await {
                // Whoever waits for an answer gets the error as well; this is for connections nobody asks.
                tracing::debug!(error = %causes(&error), "the connection to the database ended");
            }
        };
        // tidy: allow(spawn): an adapter's connection driver; it ends with its session
        Ok((client, Driver(tokio::spawn(run))))
    }

    fn tls_config(&self) -> Result<ClientConfig, DatabaseError> {
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_platform_verifier())
            .map(|builder| builder.with_no_client_auth())
            .map_err(|error| self.unreachable(causes(&error)))
    }

    fn unreachable(&self, message: String) -> DatabaseError {
        DatabaseError::Unreachable { address: self.address(), message }
    }
}

/// The task that moves a connection's bytes.
#[derive(Debug)]
pub(crate) struct Driver(JoinHandle<()>);

impl Driver {
    /// Waits until the connection, whose client was dropped, has said goodbye.
    pub(crate) async fn finished(mut self) {
        // An aborted or panicked driver has no connection left to wait for.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_asked_for_by_mode_and_distance() {
        let tls = |url: &str| Target::parse(url).unwrap().tls;
        assert!(!tls("postgresql://shop@localhost/shop"));
        assert!(!tls("postgresql://shop@127.0.0.1/shop?sslmode=prefer"));
        assert!(!tls("postgresql://shop@%2Frun%2Fpostgresql/shop"));
        assert!(tls("postgresql://shop@db.example.com/shop"));
        assert!(tls("postgresql://shop@localhost/shop?sslmode=require"));
        assert!(tls("postgres://shop@db.example.com/shop?sslmode=verify-full"));
        assert!(!tls("postgresql://shop@db.example.com/shop?sslmode=disable"));
    }

    #[test]
    fn a_url_that_says_too_little_is_refused_and_the_password_stays_out_of_the_address() {
        for url in ["", "mysql://a@b/c", "postgresql://", "postgresql://host/db", "postgresql://u@h:port/db"]
        {
            assert!(matches!(Target::parse(url), Err(DatabaseError::Url { .. })), "{url:?}");
        }
        let target = Target::parse("postgresql://shop:secret@db.example.com:5433/till").unwrap();
        assert_eq!(target.address(), "db.example.com:5433/till");
    }
}
