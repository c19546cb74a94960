//! Every bound has a name (law 10). Over it is a clear error, never a crash or a silent drop.

/// Identifiers in one fragment.
pub const IDENTIFIERS_MAX: usize = 64;
/// Attributes in one fragment.
pub const ATTRIBUTES_MAX: usize = 256;
/// Bytes in one source key.
pub const SOURCE_KEY_BYTES_MAX: usize = 512;
/// Bytes in one identifier's raw value.
pub const IDENTIFIER_BYTES_MAX: usize = 512;
/// Bytes in one text attribute.
pub const ATTRIBUTE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the free-form traits, as JSON text.
pub const TRAITS_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one whole fragment, encoded.
pub const FRAGMENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes in a name that users choose (tenant, source, namespace, attribute).
pub const NAME_BYTES_MAX: usize = 64;
/// Tenants in one installation.
pub const TENANTS_MAX: usize = 1_000;
/// API keys of one tenant, those that have ended included; of these the oldest are forgotten where there is no room.
pub const API_KEYS_MAX: usize = 1_000;
/// Sources of one tenant.
pub const SOURCES_MAX: usize = 1_000;
/// Namespaces of one tenant, built-in ones included.
pub const NAMESPACES_MAX: usize = 256;
/// Distinct attribute names of one tenant, built-in ones included.
pub const ATTRIBUTE_NAMES_MAX: usize = 4_096;
/// Source records in one cluster; a union that would go over it is kept as a possible link.
pub const CLUSTER_RECORDS_MAX: usize = 10_000;
/// Fragments waiting in one tenant's quarantine.
pub const QUARANTINE_MAX: usize = 1_000_000;
/// Fragments of one record waiting there.
pub const QUARANTINE_OF_RECORD_MAX: usize = 1_024;
/// Keyed digests that these are found by, all of them together: eight each, and at most some 400 MB of memory.
pub const QUARANTINE_POINTS_MAX: usize = 8_000_000;
/// How far ahead of the server's clock a fragment may have been observed, in seconds.
pub const OBSERVED_AHEAD_SECONDS_MAX: i64 = 24 * 60 * 60;
/// Values that one namespace may block.
pub const BLOCKED_VALUES_MAX: usize = 10_000;
/// Patterns that one namespace may block.
pub const BLOCKED_PATTERNS_MAX: usize = 64;
/// Bytes in a name for people.
pub const DISPLAY_NAME_BYTES_MAX: usize = 256;
/// Survivorship rules of one tenant: one for each attribute name that there may be.
pub const SURVIVORSHIP_RULES_MAX: usize = ATTRIBUTE_NAMES_MAX;
/// Attributes that one source's contract may have rules for.
pub const CONTRACT_RULES_MAX: usize = ATTRIBUTES_MAX;
/// Values that one rule of a contract may allow.
pub const ALLOWED_VALUES_MAX: usize = 1_000;
/// Bytes of one value that a rule of a contract allows.
pub const ALLOWED_VALUE_BYTES_MAX: usize = 256;
/// Bytes of one value that a namespace blocks.
pub const BLOCKED_VALUE_BYTES_MAX: usize = IDENTIFIER_BYTES_MAX;
/// Bytes of one regular expression of the configuration.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Bytes of one compiled regular expression, or of one namespace's set of them.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Answers that one tenant's request ids are remembered with; the oldest go first.
pub const REQUEST_IDS_MAX: usize = 65_536;
/// Bytes that these answers take together; beyond them the oldest go first too.
pub const REQUEST_ANSWERS_BYTES_MAX: usize = 64 << 20;
/// Consent statements that one fragment may carry.
pub const STATEMENTS_PER_FRAGMENT_MAX: usize = 32;
/// Bytes in one text of a statement: notice, language, method, evidence.
pub const STATEMENT_TEXT_BYTES_MAX: usize = 1_024;
/// Signals that one statement may carry.
pub const SIGNALS_MAX: usize = 4;
/// Bytes of one signal as it came.
pub const SIGNAL_BYTES_MAX: usize = 8 * 1024;
/// Consent statements of one tenant.
pub const STATEMENTS_MAX: usize = 100_000_000;
/// Purposes of one tenant.
pub const PURPOSES_MAX: usize = 64;
/// Channels of one tenant.
pub const CHANNELS_MAX: usize = 32;
/// Jurisdictions that one purpose may have a rule for.
pub const REGIMES_MAX: usize = 256;
/// Attributes, or namespaces, that one purpose may name as readable.
pub const READABLE_FIELDS_MAX: usize = 256;
/// Places, recipients, or rights that the receipts of one purpose may name.
pub const RECEIPT_TERMS_MAX: usize = 64;
/// Statements that one receipt tells of; of more the oldest are left out, and counted.
pub const RECEIPT_EVENTS_MAX: usize = 256;
/// Spans of quiet hours of one channel.
pub const QUIET_HOURS_MAX: usize = 8;
/// Frequency caps of one tenant.
pub const CAPS_MAX: usize = 32;
/// Contacts that one cap may allow.
pub const CAP_CONTACTS_MAX: u32 = 1_000;
/// Longest window of a cap, in seconds: a hundred days. Older contacts are forgotten.
pub const CAP_WINDOW_SECONDS_MAX: u32 = 100 * 24 * 60 * 60;
/// Longest wait of a reservation for its confirmation, in seconds.
pub const RESERVATION_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;
/// How far ahead a contact may be planned, in seconds.
pub const CONTACT_AHEAD_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;
/// Contacts of one tenant that are remembered for its caps.
pub const RESERVATIONS_MAX: usize = 50_000_000;
/// Purposes that one roll-up counts consent for.
pub const COVERAGE_PURPOSES_MAX: usize = 8;
/// Persons whose consent one roll-up counts.
pub const COVERAGE_PERSONS_MAX: usize = 50_000;
/// Source accounts of one tenant.
pub const ACCOUNTS_MAX: usize = 5_000_000;
/// Levels of a hierarchy, the ultimate parent being the first: a walk up is taken for every account that is shown.
pub const ACCOUNT_LEVELS_MAX: usize = 1_000;
/// Changes of parent that one source account may go through.
pub const PARENT_STEPS_MAX: usize = 256;
/// Accounts that one check of the levels below looks at, where the bound that is kept of them says too much; beyond it the bound
/// counts.
pub const LEVELS_LOOKED_AT_MAX: usize = 200_000;
/// Domains of one source account.
pub const ACCOUNT_DOMAINS_MAX: usize = 32;
/// Bytes in the name of an account, of its owner, of a role, or in a stage's note.
pub const ACCOUNT_TEXT_BYTES_MAX: usize = 512;
/// Rows of one import of a hierarchy.
pub const HIERARCHY_ROWS_MAX: usize = 200_000;
/// Faults of one import that are told; beyond that they are counted.
pub const HIERARCHY_FAULTS_MAX: usize = 10_000;
/// Affiliations that one fragment may carry.
pub const FRAGMENT_AFFILIATIONS_MAX: usize = 32;
/// Stages that one fragment may tell of.
pub const FRAGMENT_STAGES_MAX: usize = 32;
/// Affiliations of one source record of a person.
pub const AFFILIATIONS_MAX: usize = 256;
/// Privacy requests of one tenant.
pub const PRIVACY_REQUESTS_MAX: usize = 1_000_000;
/// Consumers of the feed that must confirm erasures.
pub const CONSUMERS_MAX: usize = 64;
/// Profiles, or records, that one privacy request may be about.
pub const REQUEST_SUBJECTS_MAX: usize = 16;
/// How long ago a privacy request may have come in: ten years. A clock that stands at the beginning of its time must not make
/// one that is overdue for decades.
pub const REQUEST_AGE_MICROS_MAX: i64 = 10 * 366 * 86_400_000_000;
/// Stages of one lifecycle.
pub const STAGES_MAX: usize = 32;
/// Names of stages that a tenant may ever have had.
pub const STAGE_NAMES_MAX: usize = 1_024;
