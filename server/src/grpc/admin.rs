//! AdminService: tenants, sources, namespaces, statistics, digest.

use std::sync::Arc;

use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use super::convert::{config as convert, fragment::timestamp};
use super::page::Page;
use super::{reading, status};
use crate::app::App;
use crate::app::error::WriteError;
use crate::app::tenant::Tenant;

/// The service.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The use cases.
    pub app: Arc<App>,
}

impl Admin {
    fn tenant(&self, parent: &str) -> Result<Arc<Tenant>, Status> {
        reading::tenant(&self.app, parent)
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_tenant(
        &self,
        request: Request<pb::CreateTenantRequest>,
    ) -> Result<Response<pb::CreateTenantResponse>, Status> {
        let settings =
            convert::tenant(request.into_inner().tenant).map_err(|f| status::write(WriteError::Invalid(f)))?;
        let tenant = self.app.open_tenant(settings.into_config()).await.map_err(status::write)?;
        Ok(Response::new(pb::CreateTenantResponse { tenant: Some(convert::tenant_out(&tenant.config().config)) }))
    }

    async fn get_tenant(
        &self,
        request: Request<pb::GetTenantRequest>,
    ) -> Result<Response<pb::GetTenantResponse>, Status> {
        let tenant = self.tenant(&request.into_inner().name)?;
        Ok(Response::new(pb::GetTenantResponse { tenant: Some(convert::tenant_out(&tenant.config().config)) }))
    }

    async fn list_tenants(
        &self,
        request: Request<pb::ListTenantsRequest>,
    ) -> Result<Response<pb::ListTenantsResponse>, Status> {
        let request = request.into_inner();
        let mut tenants = self.app.tenants();
        tenants.sort_by(|a, b| a.name.cmp(&b.name));
        let query = "tenants";
        let page = Page::read(&self.app.page_key, query, request.page_size, &request.page_token)?;
        let (shown, next_page_token) = page.cut(&tenants, &self.app.page_key, query);
        let tenants = shown.iter().map(|tenant| convert::tenant_out(&tenant.config().config)).collect();
        Ok(Response::new(pb::ListTenantsResponse { tenants, next_page_token }))
    }

    async fn update_tenant(
        &self,
        request: Request<pb::UpdateTenantRequest>,
    ) -> Result<Response<pb::UpdateTenantResponse>, Status> {
        let settings =
            convert::tenant(request.into_inner().tenant).map_err(|f| status::write(WriteError::Invalid(f)))?;
        let tenant = self.app.tenant(&settings.name).ok_or_else(|| status::write(WriteError::TenantUnknown))?;
        let change = move |config: &mut onefold_core::config::TenantConfig| {
            config.display_name = settings.display_name;
            config.default_region = settings.default_region;
            config.survivorship = settings.survivorship;
            config.default_survivorship = settings.default_survivorship;
            Ok(())
        };
        let config = self.app.change_config(&tenant, Box::new(change)).await.map_err(status::write)?;
        Ok(Response::new(pb::UpdateTenantResponse { tenant: Some(convert::tenant_out(&config.config)) }))
    }

    async fn put_source(
        &self,
        request: Request<pb::PutSourceRequest>,
    ) -> Result<Response<pb::PutSourceResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let source = convert::source(request.source, &tenant.config().config)
            .map_err(|f| status::write(WriteError::Invalid(f)))?;
        let name = source.name.clone();
        let config = self.app.put_source(&tenant, source).await.map_err(status::write)?;
        let source = config.config.source_named(&name).map(|source| convert::source_out(source, &config.config));
        Ok(Response::new(pb::PutSourceResponse { source }))
    }

    async fn list_sources(
        &self,
        request: Request<pb::ListSourcesRequest>,
    ) -> Result<Response<pb::ListSourcesResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let config = tenant.config();
        let query = format!("sources/{}", tenant.name);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let (shown, next_page_token) = page.cut(&config.config.sources, &self.app.page_key, &query);
        let sources = shown.iter().map(|source| convert::source_out(source, &config.config)).collect();
        Ok(Response::new(pb::ListSourcesResponse { sources, next_page_token }))
    }

    async fn put_namespace(
        &self,
        request: Request<pb::PutNamespaceRequest>,
    ) -> Result<Response<pb::PutNamespaceResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let namespace = convert::namespace(request.namespace).map_err(|f| status::write(WriteError::Invalid(f)))?;
        let name = namespace.name.clone();
        let config = self.app.put_namespace(&tenant, namespace).await.map_err(status::write)?;
        let namespace = config.config.namespace_named(&name).map(convert::namespace_out);
        Ok(Response::new(pb::PutNamespaceResponse { namespace }))
    }

    async fn list_namespaces(
        &self,
        request: Request<pb::ListNamespacesRequest>,
    ) -> Result<Response<pb::ListNamespacesResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let config = tenant.config();
        let query = format!("namespaces/{}", tenant.name);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let (shown, next_page_token) = page.cut(&config.config.namespaces, &self.app.page_key, &query);
        let namespaces = shown.iter().map(convert::namespace_out).collect();
        Ok(Response::new(pb::ListNamespacesResponse { namespaces, next_page_token }))
    }

    async fn get_statistics(
        &self,
        request: Request<pb::GetStatisticsRequest>,
    ) -> Result<Response<pb::GetStatisticsResponse>, Status> {
        let tenant = self.tenant(&request.into_inner().parent)?;
        let name = tenant.name.clone();
        let counted = tokio::task::spawn_blocking(move || crate::app::statistics::of(&tenant))
            .await
            .map_err(|_| status::internal("the count was interrupted"))?
            .map_err(|error| Status::from(status::ReadErrorIn { tenant: &name, error }))?;
        let stats = counted.engine;
        Ok(Response::new(pb::GetStatisticsResponse {
            sequence: counted.sequence.0,
            live_record_count: stats.live_records.into(),
            retracted_record_count: (stats.records - stats.live_records).into(),
            profile_count: stats.profiles.into(),
            value_count: stats.values.into(),
            generic_value_count: stats.generic_values.into(),
            largest_profile_record_count: stats.largest_cluster.into(),
            possible_link_count: stats.parked_links.into(),
            quarantined_count: counted.quarantined as u64,
            memory_bytes: stats.memory_bytes,
            live_records_by_source: counted.live_records_by_source,
        }))
    }

    async fn get_digest(
        &self,
        request: Request<pb::GetDigestRequest>,
    ) -> Result<Response<pb::GetDigestResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        reading::reached(&tenant, request.min_sequence).await?;
        let (app, read) = (Arc::clone(&self.app), Arc::clone(&tenant));
        let golden = request.include_golden_values;
        let digest = tokio::task::spawn_blocking(move || crate::app::statistics::digest(&app, &read, golden))
            .await
            .map_err(|_| status::internal("the digest was interrupted"))?
            .map_err(|error| Status::from(status::ReadErrorIn { tenant: &tenant.name, error }))?;
        // It is of the state as it was decided; it is told once that is durable.
        reading::reached(&tenant, digest.sequence.0).await?;
        Ok(Response::new(pb::GetDigestResponse {
            graph_digest: digest.graph.to_hex().to_string(),
            golden_digest: digest.golden.map(|hash| hash.to_hex().to_string()).unwrap_or_default(),
            sequence: digest.sequence.0,
            live_record_count: digest.live_records,
            profile_count: digest.profiles,
            read_time: Some(timestamp(self.app.now())),
        }))
    }
}
