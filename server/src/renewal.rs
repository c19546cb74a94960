//! Keys and certificates are replaced without a restart: their files are looked at again for as long as the server lives.

use std::sync::Weak;
use std::time::Duration;

/// The files are looked at this often.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// What was read from files that may be replaced.
pub trait Renewed: Send + Sync + 'static {
    /// What the log calls it.
    const WHAT: &'static str;

    /// Reads the files again; `true` when what they hold is used from now on. What cannot be used changes nothing.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn look(&self) -> Result<bool, String>;
}

/// Follows the files for as long as there is somebody who uses what they hold.
pub async fn follow<R: Renewed>(of: Weak<R>) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(LOOKED_AT_EVERY).await;
        let Some(renewed) = of.upgrade() else { return };
        match tokio::task::spawn_blocking(move || renewed.look()).await {
            Ok(Ok(true)) => tracing::info!(what = R::WHAT, "what was put in place is used from now on"),
            Ok(Ok(false)) => told.clear(),
            // Certificate and key are two files: between the two they do not fit.
            Ok(Err(why)) if why != told => {
                tracing::warn!(what = R::WHAT, why, "what is in place cannot be used; what was there before stays");
                told = why;
            }
            Ok(Err(_)) => {}
            Err(_) => return,
        }
    }
}
