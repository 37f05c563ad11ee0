-- Version 2. A new key leaves the one before it good for what that has made.

PRAGMA user_version = 2;

ALTER TABLE store ADD COLUMN secret_before BLOB;
