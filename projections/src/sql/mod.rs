//! SQL, written once for both databases.
//!
//! A statement is text with parameters ([`Statement`]), a row is read column by column
//! ([`FromColumns`]), and the database runs the one and hands out the other ([`Sql`]). Parameters
//! are written `?1`, `?2` …, which PostgreSQL's side turns into `$1`, `$2` …; a question mark stands
//! for nothing else. What the databases write differently is in [`Dialect`].

mod attempts;
pub mod audit;
pub mod checkpoints;
pub mod clients;
mod columns;
pub mod companies;
mod erasure;
pub mod keys;
pub(crate) mod live;
pub mod members;
pub mod operations;
mod people;
mod programs;
mod read_models;
mod survey;
mod table;
pub mod tokens;
mod tokens_query;
mod trees;
pub mod uses;
mod value;

pub use columns::{Columns, FromColumns, Unreadable};
pub use erasure::Erasures;
pub use people::People;
pub use read_models::ReadModels;
pub use survey::Survey;
pub use table::{Key, Statements, Table, stray};
pub use trees::Trees;
pub use value::{Kind, Value};

use crate::postgres::{self, PgReadModels};
use crate::sqlite::{self, SqliteReadModels};
use std::borrow::Cow;
use std::sync::Arc;
use token_ledger_event_store::StoreError;
use token_ledger_event_store::sqlite::schema_differences;

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The text, with `?1`, `?2` … for the parameters.
    pub text: Cow<'static, str>,
    /// The parameters, in order.
    pub parameters: Vec<Value<'static>>,
    /// Whether a transaction that it changes nothing in is undone.
    pub required: bool,
    /// Whether it may look at many more rows than it answers.
    pub searches: bool,
}

impl Statement {
    /// A statement whose parameters are yet to be given.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), parameters: Vec::new(), required: false, searches: false }
    }

    /// Gives the next parameter.
    #[must_use]
    pub fn with(mut self, value: impl Into<Value<'static>>) -> Self {
        self.parameters.push(value.into());
        self
    }

    /// Demands that it changes something: a transaction in which it doesn't is undone. This is how
    /// something is taken once and by one only, such as a link that is good for a single use.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Says that it may look at many more rows than it answers, so that it may take long.
    #[must_use]
    pub fn searching(mut self) -> Self {
        self.searches = true;
        self
    }

    /// Gives the next parameter and answers its place in the text.
    fn place(&mut self, value: impl Into<Value<'static>>) -> String {
        self.parameters.push(value.into());
        format!("?{}", self.parameters.len())
    }
}

/// What the databases write differently.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The function that answers where in its first argument the second one begins, from 1; 0 where
    /// it doesn't occur.
    pub position: &'static str,
    /// The condition that a text has this part, in capitals or not, the part in small letters.
    pub has: fn(&str, &str) -> String,
    /// The columns of an event, in the order in which the database's own reading has them.
    pub event_columns: &'static str,
    /// What ends a query whose rows are to be this transaction's alone, none where others have
    /// them already. Nothing where nobody else writes.
    pub claim: Option<&'static str>,
    /// What ends a query whose rows are to stay as they are until the transaction ends, and that
    /// waits for whoever is about to change them. Nothing where nobody else writes.
    pub hold: &'static str,
}

/// A database that runs statements.
#[derive(Clone, Debug)]
pub enum Sql {
    /// An SQLite file.
    Sqlite(Arc<SqliteReadModels>),
    /// A PostgreSQL database.
    Postgres(Arc<PgReadModels>),
}

impl Sql {
    /// What it writes differently.
    pub const fn dialect(&self) -> &'static Dialect {
        match self {
            Self::Sqlite(_) => &SqliteReadModels::DIALECT,
            Self::Postgres(_) => &PgReadModels::DIALECT,
        }
    }

    /// The rows that a query answers. It changes nothing.
    ///
    /// # Errors
    /// When the database fails or answers a row that can't be.
    pub async fn fetch<T: FromColumns + Send + 'static>(
        &self,
        query: Statement,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(models) => models.fetch(query).await,
            Self::Postgres(models) => models.fetch(query).await,
        }
    }

    /// The only row that a query answers, if there is one.
    ///
    /// # Errors
    /// As for [`Self::fetch`].
    pub async fn fetch_one<T: FromColumns + Send + 'static>(
        &self,
        query: Statement,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.fetch(query).await?.pop())
    }

    /// Runs statements in one transaction, one after the other. `false`, and nothing is changed, when
    /// one that is required to change something doesn't.
    ///
    /// # Errors
    /// When the database fails or refuses one; nothing is changed then.
    pub async fn transact(&self, statements: Vec<Statement>) -> Result<bool, StoreError> {
        if statements.is_empty() {
            return Ok(true);
        }
        match self {
            Self::Sqlite(models) => models.transact(statements).await,
            Self::Postgres(models) => models.transact(&statements).await,
        }
    }

    /// As [`Self::transact`], where it is of no haste: what several ask for at once, they wait for the disk
    /// for together.
    ///
    /// # Errors
    /// As for [`Self::transact`].
    pub async fn transact_along(&self, statements: Vec<Statement>) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(models) => models.transact_along(statements).await,
            Self::Postgres(models) => models.transact(&statements).await,
        }
    }

    /// Companies that are best brought up side by side by a projection behind the log.
    pub(crate) fn at_once(&self) -> usize {
        match self {
            Self::Sqlite(_) => sqlite::AT_ONCE,
            Self::Postgres(models) => postgres::at_once(models.database()),
        }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// As for [`Self::transact`].
    pub async fn execute(&self, statement: Statement) -> Result<(), StoreError> {
        self.transact(vec![statement]).await.map(drop)
    }

    /// Sees to it that what was deleted is overwritten where it stood, as far as the database is
    /// able to. What readers keep from being overwritten yet is overwritten later.
    async fn overwrite(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(models) => models.database().overwrite().await,
            // Vacuum and the archiving of the write-ahead log are the server's.
            Self::Postgres(_) => Ok(()),
        }
    }

    /// What in the schema is not as the migrations make it, in words.
    async fn schema_differences(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(models) => models.database().read(schema_differences).await,
            Self::Postgres(models) => models.schema_differences().await,
        }
    }

    /// Whether the database can be written.
    async fn try_writing(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(models) => models.try_writing().await,
            Self::Postgres(models) => models.try_writing().await,
        }
    }
}
