// Package audit keeps the audit log: an append-only file of JSON lines, each
// chained to the one before by a hash, written by any number of processes at
// once, and proves that such a file is whole.
//
// # Format
//
// One record is one line, its fields in a fixed order:
//
//	{"v":1,"seq":7,"ts":"…","op":"…","action":"…",…,"prev":"HEX","hash":"HEX"}
//
// hash is the SHA-256 of the line's bytes before `,"hash":`, so it covers prev,
// and is checked over the bytes as they are stored: nothing is marshalled
// again. prev is the hash of the line before. seq grows by one per line. The
// first record of a file has the action "log.begin" and commits the identity of
// the file, the version of ccc, and the last hash of the file before it, or 64
// zeros if there was none; later files can so continue the chain and the
// numbering. Readers ignore fields they do not know; a change of the framing
// changes v.
//
// # What it proves
//
// A record that was changed, removed, inserted, repeated or moved breaks the
// chain at its place. The chain alone does not prove that nothing was cut off
// the end, that the whole file is not an older copy, or that somebody with the
// user's rights did not write all of it anew: that needs a copy of the last
// hash elsewhere.
//
// # Locking
//
// Each append opens the log and takes flock(2) on the log's own descriptor, not
// on a lock file beside it: a lock file can be removed or be another one than
// the neighbour's, the log's own inode cannot. The kernel drops the lock with
// the process, so a crash leaves nothing to clean.
//
// The package must not hold anything secret: no argument, no value of an
// environment variable, no content of a file ever goes into a record (see
// [ArgvDigest]). It must not decide anything and never repairs what it did not
// break: only an unfinished last line is set aside.
package audit
