//! What a change of configuration did to records while the server ran, done again while the journal is replayed.
//!
//! Live, every record was prepared again at once. So what it linked by was known when it was retracted or gave an identifier up, and a
//! no that was said at it is heard there (law 6). A replay ends with the same for what is live by then; before that it prepares
//! again whom an entry asks about, and everybody once a no is heard beside its own points, since then others' links count too.

use onefold_core::decision::Sealed;
use onefold_core::fragment::Fragment;
use onefold_core::ids::{Digest128, Place};
use onefold_matching::resolve::RecordView;
use onefold_store::journal::{JournalReader, VisitError};
use onefold_store::vault::VaultError;

use super::Replaying;

impl Replaying {
    /// A record is about to be retracted, or told anew: it is to link as it did under the configuration of this moment.
    pub(super) fn prepare_again(&mut self, record: Digest128, journal: &JournalReader) -> Result<(), VisitError> {
        let Some(since) = self.relinked_at else { return Ok(()) };
        let engine = &self.state.engine;
        let is_of_before = |view: &RecordView| view.live && view.place < since;
        let places: Vec<Place> = if self.state.consent.ledger.any_stands_on() {
            self.relinked_at = None;
            engine.all_records().filter(is_of_before).map(|view| view.place).collect()
        } else {
            engine.record(record).filter(is_of_before).map(|view| view.place).into_iter().collect()
        };
        places.into_iter().try_for_each(|place| self.read_again(place, journal))
    }

    /// Prepares the fragment at a place again. One that was dropped or erased since says nothing any more.
    fn read_again(&mut self, place: Place, journal: &JournalReader) -> Result<(), VisitError> {
        let entry = journal.read(place)?;
        let Some(payload) = entry.payload else { return Ok(()) };
        let sealed = Sealed::parse(&payload)?;
        let key = match self.vault.key(sealed.slot) {
            Ok(key) => key,
            Err(VaultError::Destroyed(_) | VaultError::HalfDestroyed(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let plain = entry.context.open(&key, 0, &sealed.header, sealed.ciphertext)?;
        let (prepared, _) = self.config.preparer().prepare(&Fragment::decode(&plain)?);
        self.state.engine.prepare_again(&prepared);
        Ok(())
    }
}
