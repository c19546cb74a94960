//! A log that was cut back, or written anew, behind a head that was signed: the chain of the log is whole, the receipts are
//! all in it, and only the signed heads tell.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

use onefold_server::audit::{self, AuditError};
use onefold_tests::consent::at;
use onefold_tests::{House, person};

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_dir(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

fn put_in_place(part: &Path, data: &Path) {
    let name = part.file_name().unwrap();
    let _ = fs::remove_dir_all(data.join(name));
    copy_dir(part, &data.join(name));
}

fn heads(data: &Path) -> PathBuf {
    data.join("heads").join("heads.jsonl")
}

async fn put(house: &mut House, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let mail = format!("p{number}@harbour-mail.net");
        house.put(person("crm", &number.to_string(), 1_700_000_000, &[("email", &mail)], &[])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_back_or_rewritten_behind_a_signed_head_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, early) = (dir.path().join("data"), dir.path().join("early"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    put(&mut house, 0..5).await;
    house.forget(vec![at("email", "p1@harbour-mail.net")]).await.unwrap();
    house.close().await;
    let at_first = audit::verify(&data, None, None).unwrap();
    assert!(at_first.heads > 0 && at_first.receipts == 1, "{at_first:?}");
    copy_dir(&data, &early);
    // What comes behind the last receipt: nothing but a signed head knows of it.
    let mut house = House::open(&data).await;
    put(&mut house, 10..15).await;
    house.close().await;
    let kept = dir.path().join("heads-kept-elsewhere.jsonl");
    fs::copy(heads(&data), &kept).unwrap();
    let whole = audit::verify(&data, None, Some(&kept)).unwrap();
    assert!(whole.heads > at_first.heads && whole.entries > at_first.entries);

    // Cut back to the early state, with a checkpoint that fits it, and the heads in place cut back as well.
    for part in ["journal", "checkpoint", "keyed", "vault", "heads", "keys"] {
        put_in_place(&early.join(part), &data);
    }
    let unseen = audit::verify(&data, None, None).unwrap();
    assert_eq!((unseen.receipts, unseen.heads), (1, at_first.heads), "the chain alone does not tell");
    let found = audit::verify(&data, None, Some(&kept)).unwrap_err();
    assert!(matches!(found, AuditError::CutBack { .. }), "{found}");
    // With the heads as they were in place, their own copy tells.
    put_in_place(&early.join("heads"), &data);
    fs::copy(&kept, heads(&data)).unwrap();
    let found = audit::verify(&data, None, None).unwrap_err();
    assert!(matches!(found, AuditError::CutBack { .. }), "{found}");
    assert!(found.to_string().contains("cut back"), "{found}");
    // A server does not serve what is left, as if nothing had been acknowledged since.
    let refused = onefold_server::Server::start(House::config(&data)).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("heads.jsonl"), "{refused}");

    // Written anew from there, further than before: another log at the same place.
    put_in_place(&early.join("heads"), &data);
    let mut house = House::open(&data).await;
    put(&mut house, 20..60).await;
    house.close().await;
    audit::verify(&data, None, None).unwrap();
    let found = audit::verify(&data, None, Some(&kept)).unwrap_err();
    assert!(matches!(found, AuditError::Rewritten { .. }), "{found}");

    // The heads themselves: a line that was changed, left out, or signed by somebody else.
    let text = fs::read_to_string(&kept).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() >= 2);
    let bent = dir.path().join("bent.jsonl");
    let mut odd: Vec<String> = vec![text.replacen("\"offset\":", "\"offset\":1", 1)];
    odd.push(lines[1..].iter().map(|line| format!("{line}\n")).collect());
    for text in odd {
        fs::write(&bent, text).unwrap();
        let found = audit::verify(&data, None, Some(&bent)).unwrap_err();
        assert!(matches!(found, AuditError::HeadLine { line: 1, .. }), "{found}");
    }
    // What lies beside the log and is gone is named, also by the doctor; the next start begins it anew.
    for (file, check) in
        [("heads/heads.jsonl", "signed heads"), ("erasures/stops", "stops"), ("erasures/revocations", "revocations")]
    {
        audit::verify(&data, None, None).unwrap();
        fs::remove_file(data.join(file)).unwrap();
        let found = audit::verify(&data, None, None).unwrap_err();
        assert!(matches!(&found, AuditError::Gone { path, .. } if path.ends_with(file)), "{file}: {found}");
        let told = onefold_server::doctor::examine(&data, None);
        let of_it = told.iter().find(|one| one.check == check).unwrap();
        assert!(of_it.level == onefold_server::doctor::Level::Warning && of_it.what.contains("is gone"), "{of_it:?}");
        House::open(&data).await.close().await;
    }
    let stops = data.join("erasures/stops");
    fs::write(&stops, b"1FSTOPSx").unwrap();
    assert!(matches!(audit::verify(&data, None, None), Err(AuditError::Ledger(_))), "what is damaged is named too");
    House::open(&data).await.close().await;
    let other = dir.path().join("other");
    House::open(&other).await.close().await;
    let found = audit::verify(&data, None, Some(&heads(&other))).unwrap_err();
    assert!(matches!(found, AuditError::HeadLine { .. }), "{found}");
}
