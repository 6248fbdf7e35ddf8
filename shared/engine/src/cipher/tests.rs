use std::sync::{
    Mutex as StdMutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;

use std::time::Duration;

use mm_model::Timestamp;

use super::{
    cache::{KEY_CACHE_LIFETIME, KEY_CACHE_LIFETIME_MAX, RELOAD_RETRY},
    *,
};
use crate::{
    conformance::tests::memory::MemoryStore,
    testing::{ManualClock, SeededRng},
};

/// What the counting service was asked to unwrap.
type Asked = (Family, u32);

/// A key service whose wrapped key is the key beside its context. It counts, takes its time, and fails on demand.
#[derive(Default)]
struct CountingKeys {
    asked: StdMutex<Vec<Asked>>,
    down: AtomicBool,
    refuses: AtomicBool,
}

impl CountingKeys {
    fn taken(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn prefix(context: &KeyContext) -> Vec<u8> {
        format!("{}/{}/{}/", context.table, context.family.as_str(), context.number).into_bytes()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("down, as the test wants it")]
struct Down;

#[async_trait]
impl KeyService for CountingKeys {
    async fn wrap(&self, context: &KeyContext, key: &BranchKey) -> Result<Vec<u8>, KeyError> {
        Ok([Self::prefix(context), key.0.to_vec()].concat())
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8]) -> Result<BranchKey, KeyError> {
        self.asked.lock().unwrap().push((context.family, context.number));
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(KeyError::Unavailable(Box::new(Down)));
        }
        if self.refuses.load(Ordering::SeqCst) {
            return Err(KeyError::Refused { family: context.family, number: context.number });
        }
        let key = wrapped.strip_prefix(&*Self::prefix(context)).and_then(|key| key.try_into().ok());
        key.map(BranchKey).ok_or(KeyError::Refused { family: context.family, number: context.number })
    }
}

/// A table, a key service and a clock that ciphers share: each cipher is a process.
struct Installation {
    keys: Arc<CountingKeys>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl Installation {
    fn empty() -> Self {
        Self {
            keys: Arc::default(),
            store: Arc::new(MemoryStore::sound()),
            clock: Arc::new(ManualClock::new(Timestamp::from_unix(1_800_000_000))),
        }
    }

    async fn with_keys() -> Self {
        let installation = Self::empty();
        installation.process(1).create_first_keys().await.unwrap();
        installation
    }

    fn process(&self, seed: u64) -> TokenCipher {
        self.process_of("tokens", seed)
    }

    fn process_of(&self, table: &str, seed: u64) -> TokenCipher {
        let (keys, store, clock) = (Arc::clone(&self.keys), Arc::clone(&self.store), Arc::clone(&self.clock));
        TokenCipher::new(table.to_owned(), keys, store, clock, Arc::new(SeededRng::new(seed)))
    }

    /// What the operator's command does.
    async fn rotate(&self, family: Family, number: u32, key: [u8; 32]) {
        let context = KeyContext { table: "tokens".to_owned(), family, number };
        let wrapped = self.keys.wrap(&context, &BranchKey(key)).await.unwrap();
        let row = WrappedKey { number, wrapped, created_at: self.clock.now() };
        assert!(self.store.add_branch_key(family, &row).await.unwrap());
    }
}

fn row(user: &str, provider: &str) -> ConnectionKey {
    ConnectionKey { user: user.parse().unwrap(), provider: provider.parse().unwrap() }
}

fn ann() -> ConnectionKey {
    row("ann", "soundcloud")
}

fn version(n: u8) -> Version {
    Version::from_bytes([n; 16])
}

const SECOND: Duration = Duration::from_secs(1);

const ACCESS: &str = "canary-access-token";
const REFRESH: &str = "canary-refresh-token";

async fn sealed_pair(cipher: &TokenCipher, key: &ConnectionKey, version: Version) -> (Sealed, Sealed) {
    let sealer = cipher.sealer().await.unwrap();
    let access = sealer.access_token(key, version, &AccessToken::new(ACCESS.to_owned())).unwrap();
    let refresh = sealer.refresh_token(key, version, &RefreshToken::new(REFRESH.to_owned())).unwrap();
    (access, refresh)
}

/// The number of the branch key that sealed it.
fn number_in(sealed: &Sealed) -> u32 {
    u32::from_be_bytes(sealed.as_bytes()[1..5].try_into().unwrap())
}

#[tokio::test]
async fn what_is_sealed_opens_elsewhere_and_never_looks_the_same_twice() {
    let installation = Installation::with_keys().await;
    let (here, there) = (installation.process(2), installation.process(3));
    let (access, refresh) = sealed_pair(&here, &ann(), version(1)).await;
    assert_eq!(there.open_access_token(&ann(), version(1), &access).await.unwrap().expose(), ACCESS);
    assert_eq!(there.open_refresh_token(&ann(), version(1), &refresh).await.unwrap().expose(), REFRESH);
    let again = sealed_pair(&here, &ann(), version(1)).await;
    assert_ne!(again, (access.clone(), refresh), "each has a nonce of its own");
    let clear = access.as_bytes().windows(6).any(|window| window == b"canary");
    assert!(!clear, "nothing is in the clear");
}

#[tokio::test]
async fn a_sealed_token_opens_in_its_own_place_only() {
    let installation = Installation::with_keys().await;
    let cipher = installation.process(2);
    let (key, at) = (row("ann", "bcd"), version(1));
    let (access, refresh) = sealed_pair(&cipher, &key, at).await;
    let elsewhere = [
        (row("bob", "bcd"), at),
        (row("ann", "soundcloud"), at),
        (row("ann", "bcd"), version(2)),
        // The same letters, cut at another place.
        (row("annb", "cd"), at),
        (row("an", "nbcd"), at),
    ];
    for (key, version) in elsewhere {
        let opened = cipher.open_access_token(&key, version, &access).await;
        assert!(matches!(&opened, Err(CipherError::NotThisRow { key: named, .. }) if *named == key), "{opened:?}");
        let opened = cipher.open_refresh_token(&key, version, &refresh).await;
        assert!(matches!(&opened, Err(CipherError::NotThisRow { key: named, .. }) if *named == key), "{opened:?}");
    }
    let swapped = cipher.open_access_token(&key, at, &refresh).await;
    assert!(matches!(swapped, Err(CipherError::NotThisRow { field: "accessToken", .. })), "{swapped:?}");
    let swapped = cipher.open_refresh_token(&key, at, &access).await;
    assert!(matches!(swapped, Err(CipherError::NotThisRow { field: "refreshToken", .. })), "{swapped:?}");
}

/// Even where both families had the same branch key, one field's token would not open as the other's.
#[tokio::test]
async fn fields_are_kept_apart_by_more_than_their_families() {
    let installation = Installation::empty();
    installation.rotate(Family::Access, 1, [7; 32]).await;
    installation.rotate(Family::Refresh, 1, [7; 32]).await;
    let cipher = installation.process(2);
    let (access, refresh) = sealed_pair(&cipher, &ann(), version(1)).await;
    assert!(cipher.open_access_token(&ann(), version(1), &refresh).await.is_err());
    assert!(cipher.open_refresh_token(&ann(), version(1), &access).await.is_err());
}

#[tokio::test]
async fn no_bit_can_be_changed_and_no_byte_added_or_taken() {
    let installation = Installation::with_keys().await;
    let cipher = installation.process(2);
    let (sealed, _) = sealed_pair(&cipher, &ann(), version(1)).await;
    let bytes = sealed.as_bytes();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.to_vec();
            altered[place] ^= 1 << bit;
            let opened = cipher.open_access_token(&ann(), version(1), &Sealed::from_bytes(altered)).await;
            let as_expected = match &opened {
                Err(CipherError::NoKey { .. }) => (1..5).contains(&place),
                Err(CipherError::NotThisRow { .. }) => !(1..5).contains(&place),
                _ => false,
            };
            assert!(as_expected, "byte {place}, bit {bit}: {opened:?}");
        }
    }
    for length in 0..bytes.len() {
        let cut = Sealed::from_bytes(bytes[..length].to_vec());
        assert!(cipher.open_access_token(&ann(), version(1), &cut).await.is_err(), "{length} bytes");
    }
    let longer = Sealed::from_bytes([bytes, &[0]].concat());
    assert!(cipher.open_access_token(&ann(), version(1), &longer).await.is_err());
    assert!(cipher.open_access_token(&ann(), version(1), &sealed).await.is_ok(), "the one that was made does open");
}

#[tokio::test]
async fn an_unknown_key_is_named_and_none_at_all_is_said() {
    let installation = Installation::with_keys().await;
    let cipher = installation.process(2);
    let (sealed, _) = sealed_pair(&cipher, &ann(), version(1)).await;
    let mut foreign = sealed.as_bytes().to_vec();
    foreign[1..5].copy_from_slice(&77_u32.to_be_bytes());
    let opened = cipher.open_access_token(&ann(), version(1), &Sealed::from_bytes(foreign)).await;
    assert!(matches!(opened, Err(CipherError::NoKey { family: Family::Access, number: 77 })), "{opened:?}");
    let opened = Installation::empty().process(2).open_access_token(&ann(), version(1), &sealed).await;
    assert!(matches!(opened, Err(CipherError::NoKey { family: Family::Access, number: 0 })), "{opened:?}");
}

#[tokio::test]
async fn keys_are_unwrapped_once_in_five_minutes() {
    let installation = Installation::with_keys().await;
    let cipher = installation.process(2);
    cipher.prime().await.unwrap();
    assert_eq!(installation.keys.taken(), [(Family::Access, 1), (Family::Refresh, 1)]);
    let (access, refresh) = sealed_pair(&cipher, &ann(), version(1)).await;
    installation.clock.advance(Duration::from_secs(299));
    for _ in 0..100 {
        cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
    }
    assert_eq!(installation.keys.taken(), [], "not on the hot path");
    installation.clock.advance(Duration::from_secs(1));
    cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
    cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
    assert_eq!(installation.keys.taken(), [(Family::Access, 1)], "each family for itself");
    cipher.open_refresh_token(&ann(), version(1), &refresh).await.unwrap();
    assert_eq!(installation.keys.taken(), [(Family::Refresh, 1)]);
}

#[tokio::test]
async fn what_is_at_hand_does_without_the_key_service() {
    let installation = Installation::with_keys().await;
    let cipher = installation.process(2);
    let sealer = cipher.sealer().await.unwrap();
    installation.keys.down.store(true, Ordering::SeqCst);
    installation.clock.advance(KEY_CACHE_LIFETIME_MAX);
    // An answer that came while the service went down is sealed all the same.
    let sealed = sealer.access_token(&ann(), version(1), &AccessToken::new(ACCESS.to_owned())).unwrap();
    let opened = cipher.open_access_token(&ann(), version(1), &sealed).await;
    assert!(matches!(opened, Err(CipherError::Keys { family: Family::Access, .. })), "{opened:?}");
    installation.keys.down.store(false, Ordering::SeqCst);
    assert_eq!(cipher.open_access_token(&ann(), version(1), &sealed).await.unwrap().expose(), ACCESS);
}

#[tokio::test]
async fn a_key_service_that_is_down_keeps_nobody_from_reading_for_an_hour() {
    let installation = Installation::with_keys().await;
    let cipher = installation.process(2);
    let (access, _) = sealed_pair(&cipher, &ann(), version(1)).await;
    installation.keys.taken();
    installation.keys.down.store(true, Ordering::SeqCst);
    installation.clock.advance(KEY_CACHE_LIFETIME);
    for _ in 0..100 {
        cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
    }
    assert_eq!(installation.keys.taken(), [(Family::Access, 1)], "one waits for it, not each");
    installation.clock.advance(RELOAD_RETRY);
    cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
    assert_eq!(installation.keys.taken(), [(Family::Access, 1)], "asked again");
    installation.clock.advance(KEY_CACHE_LIFETIME_MAX.saturating_sub(KEY_CACHE_LIFETIME + RELOAD_RETRY + SECOND));
    cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
    installation.clock.advance(SECOND);
    let opened = cipher.open_access_token(&ann(), version(1), &access).await;
    assert!(matches!(opened, Err(CipherError::Keys { family: Family::Access, .. })), "{opened:?}");
    installation.keys.down.store(false, Ordering::SeqCst);
    cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
}

/// An operator who takes the keys away must not have to wait for an hour.
#[tokio::test]
async fn a_key_service_that_refuses_is_obeyed_when_it_is_next_asked() {
    let installation = Installation::with_keys().await;
    let cipher = installation.process(2);
    let (access, _) = sealed_pair(&cipher, &ann(), version(1)).await;
    installation.keys.refuses.store(true, Ordering::SeqCst);
    installation.clock.advance(KEY_CACHE_LIFETIME);
    for _ in 0..2 {
        let opened = cipher.open_access_token(&ann(), version(1), &access).await;
        let refused = matches!(opened, Err(CipherError::Keys { source: KeyError::Refused { .. }, .. }));
        assert!(refused, "{opened:?}");
    }
    installation.keys.down.store(true, Ordering::SeqCst);
    installation.keys.refuses.store(false, Ordering::SeqCst);
    assert!(cipher.open_access_token(&ann(), version(1), &access).await.is_err(), "nothing is at hand any more");
}

// One thread: the service takes its time, so that all of them have missed before the first is answered.
#[tokio::test]
async fn a_hundred_that_miss_together_unwrap_once() {
    let installation = Installation::with_keys().await;
    let (sealed, _) = sealed_pair(&installation.process(2), &ann(), version(1)).await;
    installation.keys.taken();
    let cipher = Arc::new(installation.process(3));
    for round in 0..3 {
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (cipher, sealed) = (Arc::clone(&cipher), sealed.clone());
            readers.spawn(async move { cipher.open_access_token(&ann(), version(1), &sealed).await.unwrap() });
        }
        for token in readers.join_all().await {
            assert_eq!(token.expose(), ACCESS);
        }
        assert_eq!(installation.keys.taken(), [(Family::Access, 1)], "round {round}");
        installation.clock.advance(KEY_CACHE_LIFETIME);
    }
}

#[tokio::test]
async fn after_a_rotation_old_rows_open_and_new_ones_use_the_newest_key() {
    let installation = Installation::with_keys().await;
    let (late, early) = (installation.process(2), installation.process(3));
    late.prime().await.unwrap();
    let (old, _) = sealed_pair(&late, &ann(), version(1)).await;
    installation.rotate(Family::Access, 2, [2; 32]).await;

    // A process that starts now uses the new key; one that is behind its cache the old one, and both open both.
    let (new, kept) = sealed_pair(&early, &ann(), version(2)).await;
    assert_eq!((number_in(&new), number_in(&kept)), (2, 1), "families rotate each for itself");
    let (still_old, _) = sealed_pair(&late, &ann(), version(3)).await;
    assert_eq!((number_in(&old), number_in(&still_old)), (1, 1));
    installation.keys.taken();
    late.open_access_token(&ann(), version(2), &new).await.unwrap();
    assert_eq!(
        installation.keys.taken().len(),
        2,
        "it looks for a key that it does not know, whatever its cache's age"
    );
    for cipher in [&late, &early] {
        for (version, sealed) in [(version(1), &old), (version(2), &new), (version(3), &still_old)] {
            assert_eq!(cipher.open_access_token(&ann(), version, sealed).await.unwrap().expose(), ACCESS);
        }
    }
    let (caught_up, _) = sealed_pair(&late, &ann(), version(4)).await;
    assert_eq!(number_in(&caught_up), 2);

    // Both keys stay at hand, also when old and new rows take turns.
    installation.keys.taken();
    for _ in 0..50 {
        late.open_access_token(&ann(), version(1), &old).await.unwrap();
        late.open_access_token(&ann(), version(2), &new).await.unwrap();
    }
    assert_eq!(installation.keys.taken(), []);
}

#[tokio::test]
async fn first_keys_are_made_once_by_however_many() {
    let installation = Installation::empty();
    let (one, other) = (installation.process(2), installation.process(3));
    let (made, too) = tokio::join!(one.create_first_keys(), other.create_first_keys());
    made.unwrap();
    too.unwrap();
    for family in [Family::Access, Family::Refresh] {
        let before = installation.store.branch_keys(family).await.unwrap();
        assert_eq!(before.iter().map(|key| key.number).collect::<Vec<_>>(), [1]);
        other.create_first_keys().await.unwrap();
        assert_eq!(installation.store.branch_keys(family).await.unwrap(), before, "never made anew");
    }
    let (access, _) = sealed_pair(&one, &ann(), version(1)).await;
    assert_eq!(other.open_access_token(&ann(), version(1), &access).await.unwrap().expose(), ACCESS);
}

#[tokio::test]
async fn another_tables_keys_are_refused() {
    let installation = Installation::with_keys().await;
    let primed = installation.process_of("other", 2).prime().await;
    let refused = matches!(
        primed,
        Err(CipherError::Keys {
            family: Family::Access,
            source: KeyError::Refused { family: Family::Access, number: 1 }
        })
    );
    assert!(refused, "{primed:?}");
}

#[tokio::test]
async fn nothing_that_can_be_shown_shows_a_token_or_a_key() {
    // 0x63 0x61 …: a branch key whose bytes spell a canary, so that any rendering of it would.
    let spelled: [u8; 32] = *b"canary-canary-canary-canary-key!";
    let installation = Installation::empty();
    installation.rotate(Family::Access, 1, spelled).await;
    installation.rotate(Family::Refresh, 1, spelled).await;
    let cipher = installation.process(2);
    let (access, refresh) = sealed_pair(&cipher, &ann(), version(1)).await;
    let opened = cipher.open_access_token(&ann(), version(1), &access).await.unwrap();
    let foreign = cipher.open_refresh_token(&ann(), version(2), &refresh).await.unwrap_err();
    installation.keys.down.store(true, Ordering::SeqCst);
    installation.clock.advance(KEY_CACHE_LIFETIME_MAX);
    let down = cipher.open_access_token(&ann(), version(1), &access).await.unwrap_err();
    let shown = format!(
        "{cipher:?} {opened:?} {access:?} {refresh:?} {:?} {foreign:?} {foreign} {down:?} {down} {}",
        BranchKey(spelled),
        crate::chain(&down),
    );
    assert!(shown.contains("TokenCipher") && shown.contains("BranchKey"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    let as_numbers = format!("{:?}", &spelled[..6]);
    assert!(!shown.contains(as_numbers.trim_matches(['[', ']'])), "{shown}");
}
