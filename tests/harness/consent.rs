//! Words about consent.

use onefold_proto::v1 as pb;
use pb::consent_subject::Subject;
use tonic::Status;

use crate::Clients;

/// Somebody, by an identifier.
#[must_use]
pub fn at(namespace: &str, value: &str) -> pb::ConsentSubject {
    pb::ConsentSubject { subject: Some(Subject::Identifier(crate::identifier(namespace, value))) }
}

/// Somebody, by a source record.
#[must_use]
pub fn of_record(source: &str, key: &str) -> pb::ConsentSubject {
    pb::ConsentSubject { subject: Some(Subject::Record(crate::record(source, key))) }
}

/// Somebody, by the name of a profile.
#[must_use]
pub fn of_profile(name: &str) -> pb::ConsentSubject {
    pb::ConsentSubject { subject: Some(Subject::Profile(name.to_owned())) }
}

/// Something said about marketing by e-mail.
#[must_use]
pub fn said(decision: pb::ConsentDecision, given: i64) -> pb::ConsentSaying {
    pb::ConsentSaying {
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        decision: decision as i32,
        given_time: Some(crate::seconds(given)),
        ..Default::default()
    }
}

impl Clients {
    /// Records a statement.
    ///
    /// # Errors
    /// What the server says.
    pub async fn say(
        &mut self,
        subject: pb::ConsentSubject,
        saying: pb::ConsentSaying,
    ) -> Result<pb::ConsentResult, Status> {
        let request = pb::RecordConsentRequest { subject: Some(subject), saying: Some(saying), ..Default::default() };
        Ok(self.consent.record_consent(request).await?.into_inner().result.unwrap_or_default())
    }

    /// What holds for marketing by e-mail.
    ///
    /// # Errors
    /// What the server says.
    pub async fn holds(&mut self, subject: pb::ConsentSubject) -> Result<pb::EffectiveConsent, Status> {
        let request = pb::GetConsentStateRequest {
            subject: Some(subject),
            purpose: "marketing".to_owned(),
            channel: "email".to_owned(),
            ..Default::default()
        };
        let found = self.consent.get_consent_state(request).await?.into_inner();
        Ok(found.states.into_iter().next().unwrap_or_default())
    }

    /// Whether somebody may get marketing by e-mail.
    ///
    /// # Errors
    /// What the server says.
    pub async fn may(&mut self, subject: pb::ConsentSubject, reserve: bool) -> Result<pb::ContactVerdict, Status> {
        let request = pb::DecideContactRequest {
            subject: Some(subject),
            purpose: "marketing".to_owned(),
            channel: "email".to_owned(),
            reserve,
            ..Default::default()
        };
        Ok(self.consent.decide_contact(request).await?.into_inner().verdict.unwrap_or_default())
    }

    /// The policy in force.
    ///
    /// # Errors
    /// What the server says.
    pub async fn policy(&mut self) -> Result<pb::ConsentPolicy, Status> {
        let request = pb::GetConsentPolicyRequest::default();
        Ok(self.consent.get_consent_policy(request).await?.into_inner().policy.unwrap_or_default())
    }

    /// Puts a policy in force.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_policy(&mut self, policy: pb::ConsentPolicy) -> Result<(), Status> {
        let request = pb::UpdateConsentPolicyRequest { policy: Some(policy), ..Default::default() };
        self.consent.update_consent_policy(request).await.map(drop)
    }

    /// So many contacts of one person a day, over everything.
    ///
    /// # Errors
    /// What the server says.
    pub async fn cap(&mut self, most: u32) -> Result<(), Status> {
        self.caps(&[("daily", most, pb::CapScope::Unspecified)]).await
    }

    /// These caps, each over a day and over everything.
    ///
    /// # Errors
    /// What the server says.
    pub async fn caps(&mut self, caps: &[(&str, u32, pb::CapScope)]) -> Result<(), Status> {
        let cap = |(name, most, scope): &(&str, u32, pb::CapScope)| pb::ContactCap {
            name: (*name).to_owned(),
            most: *most,
            window_seconds: 86_400,
            scope: *scope as i32,
            ..Default::default()
        };
        let mut policy = self.policy().await?;
        policy.caps = caps.iter().map(cap).collect();
        self.set_policy(policy).await
    }

    /// All statements about somebody.
    ///
    /// # Errors
    /// What the server says.
    pub async fn statements(&mut self, subject: pb::ConsentSubject) -> Result<Vec<pb::ConsentStatement>, Status> {
        let mut request = pb::ListStatementsRequest { subject: Some(subject), page_size: 1_000, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self.consent.list_statements(request.clone()).await?.into_inner();
            all.extend(page.statements);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// The reasons of a verdict, by name.
#[must_use]
pub fn reasons(verdict: &pb::ContactVerdict) -> Vec<&str> {
    verdict.reasons.iter().map(|reason| reason.reason.as_str()).collect()
}
