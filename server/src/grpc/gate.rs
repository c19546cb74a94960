//! The gate in front of the services: while the store is being recovered the server listens, says that it does not serve
//! yet, and answers every call but health and reflection with UNAVAILABLE.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use onefold_proto::v1::consent_service_server::ConsentServiceServer;
use onefold_proto::v1::profile_service_server::ProfileServiceServer;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Layer, Service};

use super::consent::Consents;
use super::profile::Profiles;
use super::status;

/// What answers before the services do.
const ALWAYS_OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Calls of these services are asked for most, and are handed to them without the router, which costs as much as a lookup.
const PROFILES: &str = "/onefold.v1.ProfileService/";
const CONSENTS: &str = "/onefold.v1.ConsentService/";

/// What is behind the gate.
#[derive(Clone)]
pub struct Services {
    /// All services.
    pub routes: Routes,
    /// Those that are reached without the router.
    pub straight: Option<(ProfileServiceServer<Profiles>, ConsentServiceServer<Consents>)>,
}

/// A gate, shut until [`Gate::open`].
#[derive(Clone, Default)]
pub struct Gate {
    services: Arc<OnceLock<Services>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.services.get().is_some() { "Gate(open)" } else { "Gate(shut)" })
    }
}

impl Gate {
    /// Lets calls through to these services from now on. A gate opens once.
    pub fn open(&self, services: Services) {
        let _ = self.services.set(Services { routes: services.routes.prepare(), ..services });
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone(), services: None }
    }
}

/// Health and reflection, with the services behind the gate.
#[derive(Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
    /// The services, once this connection has seen the gate open.
    services: Option<Services>,
}

impl<S: fmt::Debug> fmt::Debug for Gated<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gated({:?}, {:?})", self.gate, self.inner)
    }
}

/// An answer on its way.
type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if ALWAYS_OPEN.iter().any(|open| request.uri().path().starts_with(open)) {
            return Box::pin(self.inner.call(request));
        }
        if self.services.is_none() {
            self.services = self.gate.services.get().cloned();
        }
        match &mut self.services {
            Some(Services { straight: Some((profiles, _)), .. }) if request.uri().path().starts_with(PROFILES) => {
                profiles.call(request)
            }
            Some(Services { straight: Some((_, consents)), .. }) if request.uri().path().starts_with(CONSENTS) => {
                consents.call(request)
            }
            Some(services) => Box::pin(services.routes.call(request)),
            None => Box::pin(std::future::ready(Ok(status::recovering().into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn code(gated: &mut Gated<Routes>, path: &str) -> String {
        let request = http::Request::builder().uri(path).body(Body::empty()).unwrap();
        let answer = gated.call(request).await.unwrap();
        answer.headers()["grpc-status"].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_shut_gate_says_come_again_and_lets_health_through() {
        let gate = Gate::default();
        // Routes without a service answer UNIMPLEMENTED (12): whoever hears that got through.
        let mut gated = gate.layer(Routes::default());
        assert_eq!(code(&mut gated, "/onefold.v1.IngestService/PutFragment").await, "14");
        assert_eq!(code(&mut gated, "/grpc.health.v1.Health/Check").await, "12");
        gate.open(Services { routes: Routes::default(), straight: None });
        assert_eq!(code(&mut gated, "/onefold.v1.IngestService/PutFragment").await, "12");
    }
}
