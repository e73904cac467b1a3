//! Who does what in the demo's history.

use super::demo_history::DAYS;
use token_ledger_domain::{Policy, Role};

/// The company's name.
pub(super) const COMPANY: &str = "Acme Hiring";

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// On this day of the history, at this hour and minute.
    Day(u8, u8, u8),
    /// So many minutes before the present.
    MinutesAgo(i64),
}

use When::{Day, MinutesAgo};

/// A member of the company.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) ip: &'static str,
    pub(super) role: Role,
    pub(super) joins: When,
    /// When the person becomes a Super Admin.
    pub(super) promoted: Option<When>,
}

const MAYA: &str = "Maya Lindqvist";
const JONAS: &str = "Jonas Weber";
const PRIYA: &str = "Priya Nair";
const TOM: &str = "Tom Okafor";
const ROTATION: &str = "Nightly rotation";
const ONBOARDING: &str = "Partner onboarding";

/// The platform's operator: name and e-mail address.
pub(super) const OPERATOR: (&str, &str) = ("Alex Moreau", "alex.moreau@platform.example");

/// The members, the first Super Admin first.
pub(super) const PEOPLE: &[Person] = &[
    Person {
        name: MAYA,
        email: "maya.lindqvist@acme-hiring.example",
        ip: "203.0.113.7",
        role: Role::SuperAdmin,
        joins: Day(0, 8, 4),
        promoted: None,
    },
    Person {
        name: JONAS,
        email: "jonas.weber@acme-hiring.example",
        ip: "203.0.113.19",
        role: Role::SuperAdmin,
        joins: Day(0, 8, 9),
        promoted: None,
    },
    Person {
        name: PRIYA,
        email: "priya.nair@acme-hiring.example",
        ip: "203.0.113.42",
        role: Role::Auditor,
        joins: Day(2, 13, 30),
        promoted: None,
    },
    Person {
        name: TOM,
        email: "tom.okafor@acme-hiring.example",
        ip: "203.0.113.58",
        role: Role::Auditor,
        joins: Day(5, 10, 0),
        promoted: Some(Day(9, 9, 15)),
    },
];

/// An API key of the company.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) scope: &'static str,
    pub(super) at: When,
}

/// The programs.
pub(super) const KEYS: &[Plan] = &[
    Plan { name: ROTATION, scope: "ledger.admin", at: Day(0, 9, 2) },
    Plan { name: ONBOARDING, scope: "ledger.admin", at: Day(3, 15, 40) },
    Plan { name: "Gateway", scope: "ledger.introspect", at: Day(0, 9, 10) },
    Plan { name: "Compliance archive", scope: "ledger.audit", at: Day(6, 11, 25) },
];

/// The policies, and when they come into force.
pub(super) const POLICIES: &[(When, Policy)] = &[(
    Day(12, 14, 5),
    Policy {
        max_validity_seconds: 30 * 86_400,
        max_grace_seconds: 2 * 86_400,
        allowed_scopes: None,
    },
)];

/// What becomes of a token.
#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    /// Nothing; its term ends.
    Lapses,
    /// It is refreshed again and again.
    Renewed { every: i64, grace_hours: i64, by: &'static str },
    /// It gets other scopes.
    Rescoped { after: i64, to: &'static str, reason: &'static str },
    /// It is deleted.
    Deleted { after: i64, by: &'static str, reason: &'static str },
}

/// A token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) created: When,
    pub(super) by: &'static str,
    pub(super) name: &'static str,
    pub(super) scopes: &'static str,
    /// The length of its terms; the policy's default where it is none.
    pub(super) days: Option<i64>,
    pub(super) life: Life,
}

const fn token(
    created: When,
    by: &'static str,
    name: &'static str,
    scopes: &'static str,
    days: Option<i64>,
    life: Life,
) -> Token {
    Token { created, by, name, scopes, days, life }
}

const fn renewed(every: i64, grace_hours: i64) -> Life {
    Life::Renewed { every, grace_hours, by: ROTATION }
}

const fn by_hand(every: i64, by: &'static str) -> Life {
    Life::Renewed { every, grace_hours: 0, by }
}

const fn deleted(after: i64, by: &'static str, reason: &'static str) -> Life {
    Life::Deleted { after, by, reason }
}

const fn rescoped(after: i64, to: &'static str, reason: &'static str) -> Life {
    Life::Rescoped { after, to, reason }
}

const LAPSES: Life = Life::Lapses;

/// Minutes ago that a term of so many days began, when it ends in so many minutes.
const fn ending_in(minutes: i64, days: i64) -> When {
    MinutesAgo(days * 1440 - minutes)
}

const _: () = assert!(DAYS > 30, "the longest term fits the history");

/// The tokens.
pub(super) const TOKENS: &[Token] = &[
    token(Day(0, 9, 20), MAYA, "Careers page", "locations positions", None, renewed(6, 24)),
    token(Day(0, 9, 26), MAYA, "Payroll sync", "departments employees", None, renewed(6, 12)),
    token(Day(0, 9, 41), JONAS, "Job board: Indeed", "positions", None, renewed(5, 6)),
    token(Day(0, 9, 44), JONAS, "Job board: StepStone", "positions", None, renewed(5, 6)),
    token(Day(0, 13, 12), JONAS, "First steps", "positions", Some(1), LAPSES),
    token(
        Day(0, 16, 3),
        JONAS,
        "Test from my laptop",
        "employees positions",
        None,
        deleted(0, JONAS, "only a test"),
    ),
    token(
        Day(1, 10, 30),
        MAYA,
        "Applicant import",
        "position_applications positions",
        None,
        renewed(6, 24),
    ),
    token(Day(1, 11, 5), MAYA, "Org chart", "departments employees team_members", None, LAPSES),
    token(Day(2, 9, 0), JONAS, "Background checks", "position_applications", None, renewed(6, 2)),
    token(Day(2, 14, 47), JONAS, "Migration dry run", "imported_employee_infos", Some(2), LAPSES),
    token(
        Day(3, 8, 55),
        MAYA,
        "Migration",
        "custom_fields employees imported_employee_infos",
        Some(5),
        deleted(4, MAYA, "the migration is done"),
    ),
    token(
        Day(3, 16, 20),
        ONBOARDING,
        "Partner: Northwind Staffing",
        "position_applications positions",
        None,
        renewed(7, 0),
    ),
    token(
        Day(4, 9, 10),
        ONBOARDING,
        "Partner: Contoso Talent",
        "position_applications positions",
        None,
        deleted(11, TOM, "the contract has ended"),
    ),
    token(Day(4, 12, 1), JONAS, "Slack notifier", "position_applications", None, renewed(6, 1)),
    token(Day(5, 15, 33), MAYA, "Quarterly report", "departments employees", Some(3), LAPSES),
    token(
        Day(6, 10, 12),
        JONAS,
        "Data warehouse",
        "custom_fields departments employees positions",
        None,
        rescoped(2, "departments positions", "needs no personal data"),
    ),
    token(Day(7, 8, 30), MAYA, "Badge printer", "employees locations", None, renewed(6, 24)),
    token(
        Day(8, 17, 2),
        JONAS,
        "Interview scheduler",
        "company_users position_applications",
        None,
        deleted(3, MAYA, "found in a public repository"),
    ),
    token(
        Day(11, 9, 5),
        JONAS,
        "Interview scheduler (2)",
        "company_users position_applications",
        None,
        renewed(6, 12),
    ),
    token(Day(9, 11, 48), TOM, "Desk booking", "employees locations", None, LAPSES),
    token(Day(10, 13, 27), TOM, "Learning platform", "employees", None, renewed(7, 0)),
    token(Day(11, 10, 40), MAYA, "Salary benchmark", "departments positions", Some(2), LAPSES),
    token(
        Day(12, 14, 30),
        MAYA,
        "Data warehouse (2)",
        "departments positions",
        Some(30),
        renewed(25, 48),
    ),
    token(Day(13, 9, 18), TOM, "Intranet search", "company_users departments", Some(30), LAPSES),
    token(
        Day(14, 15, 55),
        ONBOARDING,
        "Partner: Fabrikam",
        "positions",
        Some(14),
        by_hand(13, TOM),
    ),
    token(
        Day(15, 10, 2),
        ONBOARDING,
        "Partner: Litware",
        "position_applications positions",
        Some(14),
        deleted(6, TOM, "the partner lost a laptop"),
    ),
    token(
        Day(21, 10, 15),
        ONBOARDING,
        "Partner: Litware (2)",
        "position_applications positions",
        Some(14),
        by_hand(12, TOM),
    ),
    token(Day(16, 8, 44), JONAS, "Referral app", "company_users positions", Some(30), LAPSES),
    token(Day(17, 11, 31), MAYA, "Audit sampling", "employees", Some(2), LAPSES),
    token(
        Day(18, 13, 50),
        TOM,
        "Chat assistant",
        "employees positions",
        Some(30),
        rescoped(1, "positions", "a review asked for less"),
    ),
    token(
        Day(19, 9, 9),
        JONAS,
        "Video interviews",
        "position_applications",
        Some(30),
        renewed(20, 24),
    ),
    token(
        Day(20, 16, 36),
        TOM,
        "Load test",
        "positions",
        Some(1),
        deleted(0, TOM, "the test is over"),
    ),
    token(Day(22, 10, 58), MAYA, "Headcount dashboard", "departments employees", Some(30), LAPSES),
    token(
        Day(23, 14, 14),
        JONAS,
        "Job board: LinkedIn",
        "locations positions",
        Some(14),
        renewed(10, 6),
    ),
    token(Day(24, 9, 37), ONBOARDING, "Partner: Tailspin", "positions", Some(7), LAPSES),
    token(Day(25, 12, 22), TOM, "Signature service", "company_users", Some(30), LAPSES),
    token(
        Day(26, 15, 8),
        JONAS,
        "Calendar bridge",
        "company_users team_members",
        Some(30),
        rescoped(3, "team_members", "users are no longer read"),
    ),
    token(Day(28, 8, 52), MAYA, "Expense tool", "company_users departments", Some(30), LAPSES),
    token(Day(29, 11, 11), TOM, "Recruiter training", "positions", Some(3), LAPSES),
    token(Day(30, 10, 29), JONAS, "Skills matrix", "custom_fields employees", Some(30), LAPSES),
    token(
        Day(31, 13, 3),
        TOM,
        "Relocation partner",
        "employees locations",
        Some(21),
        deleted(5, MAYA, "asked for the wrong data"),
    ),
    token(Day(33, 9, 46), ONBOARDING, "Partner: Wingtip", "positions", Some(30), LAPSES),
    token(Day(35, 14, 33), MAYA, "Works council report", "departments employees", Some(3), LAPSES),
    token(Day(37, 10, 7), JONAS, "Career fair kiosk", "locations positions", Some(2), LAPSES),
    token(Day(38, 16, 41), TOM, "Alumni network", "company_users", Some(30), LAPSES),
    token(Day(40, 9, 25), MAYA, "Org chart (2)", "departments team_members", Some(14), LAPSES),
    token(ending_in(190, 7), TOM, "Fair follow-up", "position_applications", Some(7), LAPSES),
    token(ending_in(1100, 14), JONAS, "Office move", "locations", Some(14), LAPSES),
    token(ending_in(25, 2), MAYA, "Board meeting", "departments positions", Some(2), LAPSES),
    token(
        MinutesAgo(340),
        JONAS,
        "Debugging session",
        "positions",
        Some(1),
        deleted(0, JONAS, "done"),
    ),
    token(MinutesAgo(95), TOM, "Partner: Proseware", "positions", Some(30), LAPSES),
    token(MinutesAgo(12), MAYA, "Careers page (preview)", "locations positions", Some(7), LAPSES),
];
