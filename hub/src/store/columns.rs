//! What goes into a statement and comes out of a row, for both databases.

use std::str::FromStr;

use entrar_broker::accounts::AccountId;
use entrar_core::time::UnixTime;
use rusqlite::types::ValueRef;

use super::{LocalUser, StoreError};
use crate::seal::{RowMac, Sealed};

/// A value in the database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// What a statement can be given in place of a `?`.
pub(super) trait Parameter {
    fn value(&self) -> Value<'_>;
}

/// All that a statement is given, in order.
pub(super) trait Parameters {
    fn values(&self) -> Vec<Value<'_>>;
}

/// What a column can be read as.
pub(super) trait Column: Sized {
    /// `None` for a value of another kind.
    fn of(value: Value<'_>) -> Option<Self>;
}

/// A row that was found.
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl Row<'_> {
    /// The value of a column, counted from 0.
    ///
    /// # Errors
    /// [`StoreError::Fault`] if there is no such column, or it holds something else.
    pub(super) fn get<T: Column>(&self, column: usize) -> Result<T, StoreError> {
        let value = match self {
            Self::Sqlite(row) => match row.get_ref(column)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(integer) => Value::Integer(integer),
                ValueRef::Real(real) => Value::Real(real),
                ValueRef::Text(text) => {
                    Value::Text(std::str::from_utf8(text).map_err(|_| other(column))?)
                }
                ValueRef::Blob(bytes) => Value::Bytes(bytes),
            },
            Self::Postgres(row) => row.try_get(column)?,
        };
        T::of(value).ok_or_else(|| other(column))
    }

    /// A column of text that reads as something.
    ///
    /// # Errors
    /// [`StoreError::Fault`]
    pub(super) fn parsed<T>(&self, column: usize) -> Result<T, StoreError>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let text: String = self.get(column)?;
        text.parse()
            .map_err(|error: T::Err| StoreError::Fault(error.to_string()))
    }

    /// The account in these two columns.
    ///
    /// # Errors
    /// [`StoreError::Fault`]
    pub(super) fn account(&self, tid: usize, oid: usize) -> Result<AccountId, StoreError> {
        Ok(AccountId {
            tid: self.parsed(tid)?,
            oid: self.parsed(oid)?,
        })
    }

    /// A time.
    ///
    /// # Errors
    /// [`StoreError::Fault`]
    pub(super) fn time(&self, column: usize) -> Result<UnixTime, StoreError> {
        self.get(column).map(UnixTime::new)
    }
}

impl Row<'_> {
    /// A user: the uid in this column and the name in the next one.
    ///
    /// # Errors
    /// [`StoreError::Fault`]
    pub(super) fn user(&self, first: usize) -> Result<LocalUser, StoreError> {
        Ok(LocalUser {
            uid: self.get(first)?,
            name: self.get(first + 1)?,
        })
    }

    /// A MAC in this column, and the name of its key in the next one.
    ///
    /// # Errors
    /// [`StoreError::Fault`]
    pub(super) fn mac(&self, first: usize) -> Result<RowMac, StoreError> {
        Ok(RowMac {
            mac: self.get(first)?,
            key_id: self.get(first + 1)?,
        })
    }

    /// What is sealed in this column, and the name of its key in the next one.
    ///
    /// # Errors
    /// [`StoreError::Fault`]
    pub(super) fn sealed(&self, first: usize) -> Result<Sealed, StoreError> {
        Ok(Sealed {
            bytes: self.get(first)?,
            key_id: self.get(first + 1)?,
        })
    }
}

fn other(column: usize) -> StoreError {
    StoreError::Fault(format!("column {column} holds another kind of value"))
}

impl<T: Parameter + ?Sized> Parameter for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: Parameter> Parameter for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Parameter::value)
    }
}

impl Parameter for str {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Parameter for String {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Parameter for i64 {
    fn value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl Parameter for u32 {
    fn value(&self) -> Value<'_> {
        Value::Integer((*self).into())
    }
}

impl Parameter for f64 {
    fn value(&self) -> Value<'_> {
        Value::Real(*self)
    }
}

impl Parameter for UnixTime {
    fn value(&self) -> Value<'_> {
        Value::Real(self.seconds())
    }
}

impl Parameter for Vec<u8> {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<const N: usize> Parameter for [u8; N] {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl Parameters for Vec<Value<'_>> {
    fn values(&self) -> Vec<Value<'_>> {
        self.clone()
    }
}

impl Parameters for &[Value<'_>] {
    fn values(&self) -> Vec<Value<'_>> {
        self.to_vec()
    }
}

impl<T: Parameters> Parameters for &T {
    fn values(&self) -> Vec<Value<'_>> {
        (**self).values()
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: Parameter),*> Parameters for ($($name,)*) {
            #[allow(non_snake_case, reason = "a field is named like its type")]
            fn values(&self) -> Vec<Value<'_>> {
                let ($($name,)*) = self;
                vec![$($name.value()),*]
            }
        }
    )*};
}
tuples! {
    () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) (A B C D E F G H I)
    (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
}

impl<T: Column> Column for Option<T> {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::of(value).map(Some),
        }
    }
}

impl Column for String {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl Column for i64 {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(integer) => Some(integer),
            _ => None,
        }
    }
}

impl Column for u32 {
    fn of(value: Value<'_>) -> Option<Self> {
        i64::of(value)?.try_into().ok()
    }
}

impl Column for bool {
    fn of(value: Value<'_>) -> Option<Self> {
        i64::of(value).map(|integer| integer != 0)
    }
}

impl Column for f64 {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Real(real) => Some(real),
            _ => None,
        }
    }
}

impl Column for Vec<u8> {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl<const N: usize> Column for [u8; N] {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}
