//! Words about the rights of persons.

use onefold_proto::v1 as pb;
use tonic::Status;

use crate::{Clients, identifier, text};

/// The officer of the house, who verifies and carries out.
const OFFICER: &str = "dpo";

/// A request of this kind about these.
#[must_use]
pub fn request(kind: pb::PrivacyRequestKind, subjects: Vec<pb::ConsentSubject>) -> pb::CreatePrivacyRequestRequest {
    pb::CreatePrivacyRequestRequest { kind: kind as i32, subjects, ..Default::default() }
}

/// That a request is the person's.
#[must_use]
pub fn verification(name: &str) -> pb::VerifyPrivacyRequestRequest {
    let (method, by) = ("email-link".to_owned(), OFFICER.to_owned());
    pb::VerifyPrivacyRequestRequest { name: name.to_owned(), method, by, ..Default::default() }
}

/// Restrict what a preview showed.
#[must_use]
pub fn restriction(name: &str, etag: &str) -> pb::ExecuteRestrictionRequest {
    let (name, etag, by) = (name.to_owned(), etag.to_owned(), OFFICER.to_owned());
    pb::ExecuteRestrictionRequest { name, etag, by, ..Default::default() }
}

/// End the restriction of a request.
#[must_use]
pub fn lift(name: &str) -> pb::LiftRestrictionRequest {
    let (by, ground) = (OFFICER.to_owned(), "dispute-settled".to_owned());
    pb::LiftRestrictionRequest { name: name.to_owned(), by, ground, ..Default::default() }
}

/// No to these purposes; to those that the kind means, where none is named.
#[must_use]
pub fn objection(name: &str, etag: &str, purposes: &[&str]) -> pb::ExecuteObjectionRequest {
    let (name, etag, by) = (name.to_owned(), etag.to_owned(), OFFICER.to_owned());
    let purposes = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
    pb::ExecuteObjectionRequest { name, etag, by, purposes, ..Default::default() }
}

/// What is right: identifiers and texts, by their names.
#[must_use]
pub fn correction(
    name: &str,
    etag: &str,
    identifiers: &[(&str, &str)],
    texts: &[(&str, &str)],
) -> pb::ExecuteRectificationRequest {
    pb::ExecuteRectificationRequest {
        name: name.to_owned(),
        etag: etag.to_owned(),
        by: OFFICER.to_owned(),
        identifiers: identifiers.iter().map(|(namespace, value)| identifier(namespace, value)).collect(),
        attributes: texts.iter().map(|(name, value)| text(name, value)).collect(),
        ..Default::default()
    }
}

impl Clients {
    /// Takes in a request for erasure, verified.
    ///
    /// # Errors
    /// What the server says.
    pub async fn ask_for_erasure(&mut self, subjects: Vec<pb::ConsentSubject>) -> Result<String, Status> {
        self.ask_for(pb::PrivacyRequestKind::Erasure, subjects).await
    }

    /// Takes in a request, verified.
    ///
    /// # Errors
    /// What the server says.
    pub async fn ask_for(
        &mut self,
        kind: pb::PrivacyRequestKind,
        subjects: Vec<pb::ConsentSubject>,
    ) -> Result<String, Status> {
        let made = self.privacy.create_privacy_request(request(kind, subjects)).await?.into_inner();
        let name = made.request.unwrap_or_default().name;
        self.privacy.verify_privacy_request(verification(&name)).await?;
        Ok(name)
    }

    /// The same about one person, and its scope.
    ///
    /// # Errors
    /// What the server says.
    pub async fn ask_in_scope(
        &mut self,
        kind: pb::PrivacyRequestKind,
        subject: pb::ConsentSubject,
    ) -> Result<(String, String), Status> {
        let name = self.ask_for(kind, vec![subject]).await?;
        let etag = self.preview(&name).await?.etag;
        Ok((name, etag))
    }

    /// Has somebody restricted; the request.
    ///
    /// # Errors
    /// What the server says.
    pub async fn restrict(&mut self, subject: pb::ConsentSubject) -> Result<String, Status> {
        let (name, etag) = self.ask_in_scope(pb::PrivacyRequestKind::Restriction, subject).await?;
        self.privacy.execute_restriction(restriction(&name, &etag)).await?;
        Ok(name)
    }

    /// What a request would touch.
    ///
    /// # Errors
    /// What the server says.
    pub async fn preview(&mut self, name: &str) -> Result<pb::PreviewErasureResponse, Status> {
        let request = pb::PreviewErasureRequest { name: name.to_owned() };
        Ok(self.privacy.preview_erasure(request).await?.into_inner())
    }

    /// Carries it out with the scope that a preview showed.
    ///
    /// # Errors
    /// What the server says.
    pub async fn erase(&mut self, name: &str, etag: &str) -> Result<pb::PrivacyRequest, Status> {
        let request = pb::ExecuteErasureRequest { name: name.to_owned(), etag: etag.to_owned(), ..Default::default() };
        Ok(self.privacy.execute_erasure(request).await?.into_inner().request.unwrap_or_default())
    }

    /// From the request to its end.
    ///
    /// # Errors
    /// What the server says.
    pub async fn forget(&mut self, subjects: Vec<pb::ConsentSubject>) -> Result<pb::PrivacyRequest, Status> {
        let name = self.ask_for_erasure(subjects).await?;
        let etag = self.preview(&name).await?.etag;
        self.erase(&name, &etag).await
    }

    /// What an export would hold.
    ///
    /// # Errors
    /// What the server says.
    pub async fn preview_export(&mut self, name: &str) -> Result<pb::PreviewAccessExportResponse, Status> {
        let request = pb::PreviewAccessExportRequest { name: name.to_owned() };
        Ok(self.privacy.preview_access_export(request).await?.into_inner())
    }

    /// Has what is held handed over to the person: the text, and its end.
    ///
    /// # Errors
    /// What the server says, before or in the stream.
    pub async fn export(&mut self, name: &str, etag: &str) -> Result<(String, pb::AccessExportEnd), Status> {
        use pb::stream_access_export_response::Part;
        let (name, etag, delivered_to) = (name.to_owned(), etag.to_owned(), "subject".to_owned());
        let request = pb::StreamAccessExportRequest { name, etag, delivered_to };
        let mut pieces = self.privacy.stream_access_export(request).await?.into_inner();
        let mut bytes = Vec::new();
        loop {
            match pieces.message().await?.and_then(|message| message.part) {
                Some(Part::Json(piece)) => bytes.extend(piece),
                Some(Part::End(end)) => {
                    let text = String::from_utf8(bytes).map_err(|_| Status::internal("no text"))?;
                    return Ok((text, end));
                }
                None => return Err(Status::internal("the stream ended without its end")),
            }
        }
    }

    /// The receipt.
    ///
    /// # Errors
    /// What the server says.
    pub async fn receipt(&mut self, name: &str) -> Result<String, Status> {
        let request = pb::GetErasureReceiptRequest { name: name.to_owned() };
        Ok(self.privacy.get_erasure_receipt(request).await?.into_inner().receipt_json)
    }

    /// All requests.
    ///
    /// # Errors
    /// What the server says.
    pub async fn privacy_requests(&mut self, open_only: bool) -> Result<Vec<pb::PrivacyRequest>, Status> {
        let mut request = pb::ListPrivacyRequestsRequest { open_only, page_size: 3, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self.privacy.list_privacy_requests(request.clone()).await?.into_inner();
            all.extend(page.requests);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }
}
