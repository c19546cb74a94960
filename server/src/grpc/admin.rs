//! AdminService: tenants, sources, namespaces, match models, statistics, digest.

use std::sync::Arc;

use onefold_core::access::ApiKey;
use onefold_core::fault::FaultReason;
use onefold_core::fragment::PartyKind;
use onefold_matching::pair::Model;
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use super::convert::{access, config as convert, fragment::timestamp, models, review};
use super::mount::answer;
use super::page::Page;
use super::{names, reading, requests, rights, status};
use crate::app::App;
use crate::app::error::{ReadError, WriteError};
use crate::app::lane::Changed;
use crate::app::models::{Wanted, fit, preview};
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

    /// The tenant and the kind of party that a model's name speaks of.
    fn model(&self, name: &str) -> Result<(Arc<Tenant>, PartyKind), Status> {
        let (of, party) = names::model(name).map_err(|bad| status::field("name", FaultReason::Malformed, bad.0))?;
        Ok((reading::named(&self.app, of)?, party))
    }

    fn choice(&self, wire: Option<pb::ModelChoice>, party: PartyKind) -> Result<Option<Model>, Status> {
        models::choice(wire, party).map_err(|faults| status::write(WriteError::Invalid(faults)))
    }
}

fn failed(tenant: &Tenant, error: ReadError) -> Status {
    status::ReadErrorIn { tenant: &tenant.name, error }.into()
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_tenant(
        &self,
        request: Request<pb::CreateTenantRequest>,
    ) -> Result<Response<pb::CreateTenantResponse>, Status> {
        let request = request.into_inner();
        let key = self.app.shared.root.derive("request ids");
        let named = requests::named(&request.request_id, "CreateTenant", &request, &key)?;
        let settings = convert::tenant(request.tenant).map_err(|f| status::write(WriteError::Invalid(f)))?;
        let opened = self.app.open_tenant(settings, named).await.map_err(status::write)?;
        Ok(answer(pb::CreateTenantResponse { tenant: Some(convert::tenant_out(&opened)) }))
    }

    async fn get_tenant(
        &self,
        request: Request<pb::GetTenantRequest>,
    ) -> Result<Response<pb::GetTenantResponse>, Status> {
        let tenant = self.tenant(&request.into_inner().name)?;
        let config = reading::config(&tenant).await?;
        Ok(answer(pb::GetTenantResponse { tenant: Some(convert::tenant_out(&config.config.settings())) }))
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
        let mut tenants = Vec::with_capacity(shown.len());
        for tenant in shown {
            tenants.push(convert::tenant_out(&reading::config(tenant).await?.config.settings()));
        }
        Ok(answer(pb::ListTenantsResponse { tenants, next_page_token }))
    }

    async fn update_tenant(
        &self,
        request: Request<pb::UpdateTenantRequest>,
    ) -> Result<Response<pb::UpdateTenantResponse>, Status> {
        let request = request.into_inner();
        let etag = request.tenant.as_ref().map(|tenant| tenant.etag.clone()).unwrap_or_default();
        let settings = convert::tenant(request.tenant.clone()).map_err(|f| status::write(WriteError::Invalid(f)))?;
        let tenant = reading::named(&self.app, &settings.name)?;
        let named = requests::named(&request.request_id, "UpdateTenant", &request, &tenant.keys.index)?;
        match self.app.set_settings(&tenant, settings, etag, named).await.map_err(status::write)? {
            Changed::Settings(set) => Ok(answer(pb::UpdateTenantResponse { tenant: Some(convert::tenant_out(&set)) })),
            _ => Err(status::internal("the lane answered another question")),
        }
    }

    async fn put_source(
        &self,
        request: Request<pb::PutSourceRequest>,
    ) -> Result<Response<pb::PutSourceResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "PutSource", &request, &tenant.keys.index)?;
        let etag = request.source.as_ref().map(|source| source.etag.clone()).unwrap_or_default();
        let source = convert::source(request.source, &tenant.config().config)
            .map_err(|f| status::write(WriteError::Invalid(f)))?;
        match self.app.put_source(&tenant, source, etag, named).await.map_err(status::write)? {
            Changed::Source(put) => {
                let source = Some(convert::source_out(&put, &tenant.config().config));
                Ok(answer(pb::PutSourceResponse { source }))
            }
            _ => Err(status::internal("the lane answered another question")),
        }
    }

    async fn list_sources(
        &self,
        request: Request<pb::ListSourcesRequest>,
    ) -> Result<Response<pb::ListSourcesResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let config = reading::config(&tenant).await?;
        let query = format!("sources/{}", tenant.name);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let (shown, next_page_token) = page.cut(&config.config.sources, &self.app.page_key, &query);
        let sources = shown.iter().map(|source| convert::source_out(source, &config.config)).collect();
        Ok(answer(pb::ListSourcesResponse { sources, next_page_token }))
    }

    async fn put_namespace(
        &self,
        request: Request<pb::PutNamespaceRequest>,
    ) -> Result<Response<pb::PutNamespaceResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "PutNamespace", &request, &tenant.keys.index)?;
        let etag = request.namespace.as_ref().map(|namespace| namespace.etag.clone()).unwrap_or_default();
        let namespace = convert::namespace(request.namespace).map_err(|f| status::write(WriteError::Invalid(f)))?;
        match self.app.put_namespace(&tenant, namespace, etag, named).await.map_err(status::write)? {
            Changed::Namespace(put) => {
                Ok(answer(pb::PutNamespaceResponse { namespace: Some(convert::namespace_out(&put)) }))
            }
            _ => Err(status::internal("the lane answered another question")),
        }
    }

    async fn list_namespaces(
        &self,
        request: Request<pb::ListNamespacesRequest>,
    ) -> Result<Response<pb::ListNamespacesResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let config = reading::config(&tenant).await?;
        let query = format!("namespaces/{}", tenant.name);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let (shown, next_page_token) = page.cut(&config.config.namespaces, &self.app.page_key, &query);
        let namespaces = shown.iter().map(convert::namespace_out).collect();
        Ok(answer(pb::ListNamespacesResponse { namespaces, next_page_token }))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let tenant = self.tenant(&request.into_inner().parent)?;
        let config = reading::config(&tenant).await?;
        let shown = config.models.all().map(|(party, held)| review::model(&tenant.name, party, held, false));
        Ok(answer(pb::ListModelsResponse { models: shown.collect() }))
    }

    async fn get_model(&self, request: Request<pb::GetModelRequest>) -> Result<Response<pb::GetModelResponse>, Status> {
        let (tenant, party) = self.model(&request.into_inner().name)?;
        let config = reading::config(&tenant).await?;
        let held = config.models.of(party).ok_or_else(|| failed(&tenant, ReadError::ModelUnknown))?;
        Ok(answer(pb::GetModelResponse { model: Some(review::model(&tenant.name, party, held, true)) }))
    }

    async fn train_model(
        &self,
        request: Request<pb::TrainModelRequest>,
    ) -> Result<Response<pb::TrainModelResponse>, Status> {
        let request = request.into_inner();
        let (tenant, party) = self.model(&request.name)?;
        let version = models::version(&request.version).map_err(|f| status::write(WriteError::Invalid(f)))?;
        let base = tenant.config().models.of(party).map(|held| held.matcher.model().schema.clone());
        let schema = models::schema(party, base, &request.custom_fields)
            .map_err(|faults| status::write(WriteError::Invalid(faults)))?;
        let read = Arc::clone(&tenant);
        let work = move |app: &Arc<App>, tenant: &Arc<Tenant>| fit(app, tenant, &schema, &version);
        let (model, records) = self.app.reading(&read, work).await.map_err(|error| failed(&tenant, error))?;
        let artefact_json = model.to_json();
        Ok(answer(pb::TrainModelResponse { artefact_json, record_count: records as u64 }))
    }

    async fn preview_model(
        &self,
        request: Request<pb::PreviewModelRequest>,
    ) -> Result<Response<pb::PreviewModelResponse>, Status> {
        let request = request.into_inner();
        let (tenant, party) = self.model(&request.name)?;
        let most = models::examples(request.examples_max).map_err(|f| status::write(WriteError::Invalid(f)))?;
        let model = self.choice(request.model, party)?;
        let read = Arc::clone(&tenant);
        let work = move |app: &Arc<App>, tenant: &Arc<Tenant>| preview(app, tenant, party, model);
        let found = self.app.reading(&read, work).await.map_err(|error| failed(&tenant, error))?;
        Ok(answer(models::preview(&found, &tenant, most)))
    }

    async fn set_model(&self, request: Request<pb::SetModelRequest>) -> Result<Response<pb::SetModelResponse>, Status> {
        let request = request.into_inner();
        let (tenant, party) = self.model(&request.name)?;
        let named = requests::named(&request.request_id, "SetModel", &request, &tenant.keys.index)?;
        let model = self.choice(request.model, party)?;
        let wanted = Wanted { party, model, etag: request.etag };
        let sequence = self.app.set_model(&tenant, wanted, named).await.map_err(status::write)?;
        let config = tenant.config();
        let model = config.models.of(party).map(|held| review::model(&tenant.name, party, held, false));
        Ok(answer(pb::SetModelResponse { model, sequence: sequence.0 }))
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
        Ok(answer(pb::GetStatisticsResponse {
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
        Ok(answer(pb::GetDigestResponse {
            graph_digest: digest.graph.to_hex().to_string(),
            golden_digest: digest.golden.map(|hash| hash.to_hex().to_string()).unwrap_or_default(),
            sequence: digest.sequence.0,
            live_record_count: digest.live_records,
            profile_count: digest.profiles,
            read_time: Some(timestamp(self.app.now())),
        }))
    }

    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "CreateApiKey", &request, &tenant.keys.index)?;
        let wanted = access::wanted(request.api_key).map_err(|f| status::write(WriteError::Invalid(f)))?;
        if wanted.all_tenants {
            if !rights::reaches_all(&self.app) {
                return Err(status::tenant_not_allowed());
            }
            if tenant.name != names::DEFAULT_TENANT {
                let message = "keys for every tenant are kept under tenants/default: give that as `parent`";
                return Err(status::field("parent", FaultReason::Malformed, message));
            }
        }
        let (made, secret) = self.app.create_api_key(&tenant, wanted, named).await.map_err(status::write)?;
        let api_key = Some(access::out(&made, &tenant.name));
        Ok(answer(pb::CreateApiKeyResponse { api_key, secret: secret.unwrap_or_default() }))
    }

    async fn list_api_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        reading::durable(&tenant).await?;
        let query = format!("api keys/{}", tenant.name);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        // Keys for every tenant lie with the default tenant's, and are not its own affair.
        let shows = |key: &&ApiKey| !key.all_tenants || rights::reaches_all(&self.app);
        let keys: Vec<pb::ApiKey> =
            tenant.state().api_keys.iter().filter(shows).map(|key| access::out(key, &tenant.name)).collect();
        let (shown, next_page_token) = page.cut(&keys, &self.app.page_key, &query);
        Ok(answer(pb::ListApiKeysResponse { api_keys: shown.to_vec(), next_page_token }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Result<Response<pb::RevokeApiKeyResponse>, Status> {
        let request = request.into_inner();
        let (of, id) =
            access::name(&request.name).map_err(|bad| status::field("name", FaultReason::Malformed, bad.0))?;
        let tenant = reading::named(&self.app, of)?;
        let named = requests::named(&request.request_id, "RevokeApiKey", &request, &tenant.keys.index)?;
        let of_all = tenant.state().api_keys.get(id).is_some_and(|key| key.all_tenants);
        if of_all && !rights::reaches_all(&self.app) {
            return Err(status::write(WriteError::ApiKeyUnknown));
        }
        let revoked = self.app.revoke_api_key(&tenant, id, named).await.map_err(status::write)?;
        Ok(answer(pb::RevokeApiKeyResponse { api_key: Some(access::out(&revoked, &tenant.name)) }))
    }
}
