//! Health, as a load balancer asks for it.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Asks one server.
#[derive(Clone, Debug)]
pub struct Health(HealthClient<Channel>);

/// Connects.
///
/// # Errors
/// When nobody listens.
pub async fn connect(address: SocketAddr) -> Result<Health, tonic::transport::Error> {
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address makes a URI").connect().await?;
    Ok(Health(HealthClient::new(channel)))
}

impl Health {
    /// What is said of a service, or of the server as a whole (""): 1 serves, 2 does not.
    ///
    /// # Errors
    /// When the service is unknown.
    pub async fn check(&mut self, service: &str) -> Result<i32, Status> {
        let request = HealthCheckRequest { service: service.to_owned() };
        Ok(self.0.check(request).await?.into_inner().status)
    }

    /// Waits until this is said of a service: health follows what happened a moment later.
    ///
    /// # Errors
    /// When the service is unknown.
    pub async fn becomes(&mut self, service: &str, status: i32) -> Result<(), Status> {
        while self.check(service).await? != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
