use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const TENANT: TenantId = TenantId(4);

fn key(byte: u8) -> WrappingKey {
    WrappingKey::new([byte; 32])
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("4").join(FILE_NAME)
}

fn open(dir: &TempDir, wrapping: u8, next: u32) -> Vault {
    let vault = Vault::open(dir.path(), TENANT, &key(wrapping)).unwrap();
    vault.recover(SlotId(next)).unwrap();
    vault
}

#[derive(Clone, Debug)]
enum Step {
    Take,
    Destroy(prop::sample::Index),
    Rotate(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Take),
        3 => any::<prop::sample::Index>().prop_map(Step::Destroy),
        1 => any::<u8>().prop_map(Step::Rotate),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn keys_stay_what_they_were_until_they_are_destroyed(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = TempDir::new().unwrap();
        let (mut vault, mut wrapping) = (open(&dir, 1, 0), 1);
        let mut keys: BTreeMap<SlotId, Option<DataKey>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Take => {
                    let (slot, key) = vault.take().unwrap();
                    prop_assert!(keys.insert(slot, Some(key)).is_none(), "a slot is handed out once");
                }
                Step::Destroy(pick) if !keys.is_empty() => {
                    let slot = *keys.keys().nth(pick.index(keys.len())).unwrap();
                    vault.destroy(&[slot]).unwrap();
                    keys.insert(slot, None);
                }
                Step::Destroy(_) => {}
                Step::Rotate(next) => {
                    vault.rotate(&key(next)).unwrap();
                    wrapping = next;
                }
                Step::Restart => {
                    let next = vault.next();
                    drop(vault);
                    vault = open(&dir, wrapping, next.0);
                }
            }
            for (slot, want) in &keys {
                match want {
                    Some(want) => prop_assert_eq!(&vault.key(*slot).unwrap(), want),
                    None => prop_assert!(matches!(vault.key(*slot), Err(VaultError::Destroyed(found)) if found == *slot)),
                }
            }
        }
        let distinct: BTreeSet<_> = keys.values().flatten().map(|key| *key.expose()).collect();
        prop_assert_eq!(distinct.len(), keys.values().flatten().count());
    }
}

#[test]
fn a_slot_is_durable_before_it_is_handed_out_and_none_is_known_before_recovery() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::open(dir.path(), TENANT, &key(1)).unwrap();
    assert!(matches!(vault.take(), Err(VaultError::NotRecovered)));
    vault.recover(SlotId(0)).unwrap();
    let (slot, taken) = vault.take().unwrap();
    // Another handle reads the file, not this one's memory.
    assert_eq!(Vault::open(dir.path(), TENANT, &key(1)).unwrap().key(slot).unwrap(), taken);
    for _ in 1..CHUNK_MIN + 3 {
        vault.take().unwrap();
    }
    assert_eq!(vault.next(), SlotId(CHUNK_MIN + 3));
    assert!(matches!(vault.key(SlotId(3 * CHUNK_MIN)), Err(VaultError::Unknown(_))));
    let lost = Vault::open(dir.path(), TENANT, &key(1)).unwrap();
    assert!(matches!(lost.recover(SlotId(3 * CHUNK_MIN)), Err(VaultError::Unknown(_))), "slots were lost");
}

fn at(slot: u32) -> usize {
    offset(slot) as usize
}

#[test]
fn a_flipped_bit_is_found() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    let slots: Vec<_> = (0..3).map(|_| vault.take().unwrap()).collect();
    vault.destroy(&[slots[2].0]).unwrap();
    let good = fs::read(file(&dir)).unwrap();
    for bit in 0..(HEADER + 3 * SLOT) * 8 {
        let mut bent = good.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        fs::write(file(&dir), &bent).unwrap();
        let opened = Vault::open(dir.path(), TENANT, &key(1));
        match (bit / 8 + SLOT).saturating_sub(HEADER) / SLOT {
            0 => assert!(opened.is_err(), "header bit {bit}"),
            hit => {
                let opened = opened.unwrap();
                for (place, (slot, key)) in slots.iter().enumerate() {
                    match opened.key(*slot) {
                        Err(VaultError::Damaged(found)) => assert!(place + 1 == hit && found == *slot, "bit {bit}"),
                        Err(VaultError::Destroyed(_)) => assert!(place == 2 && hit != 3, "bit {bit}"),
                        Err(VaultError::HalfDestroyed(found)) => assert!(hit == 3 && found == *slot, "bit {bit}"),
                        other => assert!(place + 1 != hit && other.unwrap() == *key, "bit {bit}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_vault_opens_under_its_own_key_and_tenant_only() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir, 1, 0));
    assert!(matches!(Vault::open(dir.path(), TENANT, &key(2)), Err(VaultError::WrongKey)));
    fs::rename(dir.path().join("4"), dir.path().join("5")).unwrap();
    assert!(matches!(Vault::open(dir.path(), TenantId(5), &key(1)), Err(VaultError::HeaderDamaged)));
}

#[test]
fn neither_a_live_nor_a_destroyed_key_stands_in_the_file() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    let (gone, secret) = vault.take().unwrap();
    let (_, live) = vault.take().unwrap();
    let before = fs::read(file(&dir)).unwrap();
    vault.destroy(&[gone]).unwrap();
    let after = fs::read(file(&dir)).unwrap();
    for secret in [secret, live] {
        for bytes in [&before, &after] {
            assert!(!bytes.windows(SECRET_BYTES).any(|window| secret.expose().starts_with(window)));
        }
    }
    let slot = |bytes: &[u8]| bytes[HEADER..HEADER + SECRET_BYTES].to_vec();
    assert_ne!(slot(&before), slot(&after), "the masked key is overwritten");
    vault.destroy(&[gone]).unwrap();
    assert_ne!(slot(&after), slot(&fs::read(file(&dir)).unwrap()), "with noise, each time");
    assert!(matches!(vault.destroy(&[SlotId(0), SlotId(999_999)]), Err(VaultError::Unknown(_))));
}

/// A crash while new slots were made leaves some of them half written; none was ever used.
#[test]
fn half_made_slots_are_made_anew_and_used_ones_are_never_touched() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    let used: Vec<_> = (0..5).map(|_| vault.take().unwrap()).collect();
    drop(vault);
    let good = fs::read(file(&dir)).unwrap();
    for cut in [at(5), at(5) + 1, at(6) - 1, at(9), good.len() - 1] {
        for blank in [false, true] {
            let mut torn = good[..cut].to_vec();
            if blank {
                torn.resize(good.len(), 0);
            }
            fs::write(file(&dir), &torn).unwrap();
            let vault = open(&dir, 1, 5);
            let mut fresh = BTreeMap::new();
            for _ in 0..CHUNK_MIN + 10 {
                let (slot, key) = vault.take().unwrap();
                assert!(slot.0 >= 5);
                fresh.insert(slot, key);
            }
            let again = open(&dir, 1, vault.next().0);
            for (slot, key) in used.iter().map(|(slot, key)| (slot, key)).chain(&fresh) {
                assert_eq!(again.key(*slot).unwrap(), *key, "cut {cut}, blank {blank}, {slot:?}");
            }
        }
    }
}

/// One spoiled slot among those that wait: no slot is handed out with another one's key.
#[test]
fn a_spoiled_slot_that_waits_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    let (used, taken) = vault.take().unwrap();
    drop(vault);
    let mut bytes = fs::read(file(&dir)).unwrap();
    bytes[at(4)] ^= 1;
    fs::write(file(&dir), &bytes).unwrap();
    let vault = open(&dir, 1, 1);
    for _ in 0..20 {
        let (slot, key) = vault.take().unwrap();
        assert_eq!(vault.key(slot).unwrap(), key, "{slot:?}");
    }
    assert_eq!(vault.key(used).unwrap(), taken);
}

#[test]
fn reserved_slots_are_taken_without_asking_for_room() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir, 1, 0).take().unwrap());
    let mut bytes = fs::read(file(&dir)).unwrap();
    bytes[at(8)] ^= 1;
    fs::write(file(&dir), &bytes).unwrap();
    let vault = open(&dir, 1, 1);
    let count = 3 * CHUNK_MIN as usize;
    vault.reserve(count).unwrap();
    let reserved = fs::metadata(file(&dir)).unwrap().len();
    for expected in 1..=count {
        let (slot, key) = vault.take().unwrap();
        assert_eq!(slot.0 as usize, expected);
        assert_eq!(vault.key(slot).unwrap(), key, "{slot:?}");
    }
    assert_eq!(fs::metadata(file(&dir)).unwrap().len(), reserved);
}

#[test]
fn a_slot_destroyed_before_it_was_taken_is_never_taken() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    vault.take().unwrap();
    vault.destroy(&[SlotId(3)]).unwrap();
    for _ in 0..10 {
        let (slot, key) = vault.take().unwrap();
        assert!(slot.0 > 3, "{slot:?}");
        assert_eq!(vault.key(slot).unwrap(), key);
    }
}

#[test]
fn an_interrupted_rotation_opens_under_one_of_the_two_keys() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    let (slot, taken) = vault.take().unwrap();
    // Before the new file got its name:
    fs::write(file(&dir).with_extension("tmp"), b"half a vault").unwrap();
    assert!(matches!(Vault::open(dir.path(), TENANT, &key(2)), Err(VaultError::WrongKey)));
    let old = Vault::open(dir.path(), TENANT, &key(1)).unwrap();
    assert_eq!(old.key(slot).unwrap(), taken);
    assert!(!file(&dir).with_extension("tmp").exists());
    // After:
    vault.rotate(&key(2)).unwrap();
    assert!(matches!(Vault::open(dir.path(), TENANT, &key(1)), Err(VaultError::WrongKey)));
    assert_eq!(Vault::open(dir.path(), TENANT, &key(2)).unwrap().key(slot).unwrap(), taken);
    // A handle that held the old file finds noise, not keys.
    assert!(matches!(old.key(slot), Err(VaultError::Damaged(_))));
}

#[test]
fn rotation_carries_damage_over_as_damage() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    let slots: Vec<_> = (0..3).map(|_| vault.take().unwrap()).collect();
    let mut bytes = fs::read(file(&dir)).unwrap();
    bytes[at(1)] ^= 1;
    fs::write(file(&dir), &bytes).unwrap();
    vault.rotate(&key(2)).unwrap();
    assert_eq!(vault.key(slots[0].0).unwrap(), slots[0].1);
    assert!(matches!(vault.key(slots[1].0), Err(VaultError::Damaged(_))));
    assert_eq!(vault.key(slots[2].0).unwrap(), slots[2].1);
}

#[test]
fn many_threads_take_different_slots_and_read_while_others_are_destroyed() {
    let dir = TempDir::new().unwrap();
    let vault = open(&dir, 1, 0);
    let taken: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mine: Vec<_> = (0..600).map(|_| vault.take().unwrap()).collect();
                    vault.destroy(&[mine[0].0]).unwrap();
                    for (slot, key) in &mine[1..] {
                        assert_eq!(vault.key(*slot).unwrap(), *key);
                    }
                    mine
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(taken.iter().map(|(slot, _)| slot).collect::<BTreeSet<_>>().len(), 2_400);
}
