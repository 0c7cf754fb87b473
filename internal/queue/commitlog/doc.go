// Package commitlog is an append-only log of records in segment files, whose
// writers share syncs: while the disk is busy with one batch, the next one
// gathers. It knows records, not messages: what they mean, and which of them
// are still needed, is the caller's business.
//
// A segment is a file of fixed size, allocated in one piece, so that a sync
// has no metadata to write. Its name is
//
//	NUMBER-SALT
//
// both 16 hexadecimal digits. Segments are used in the order of their numbers,
// and given up in that order: whatever revokes a record comes later in the log,
// and stays until the record itself has gone. A segment given up gets another
// name and is written anew; the salt, which is random, tells its records from
// those that the file held before, and from whatever a record contains.
//
// A record is
//
//	magic 4, kind 1, flags 1, zero 2, id 16, salt 8, group 4, length of meta 4,
//	length of body 4, CRC of meta 4, CRC of body 4, CRC of the 52 bytes before 4
//	meta, body, zeros up to a multiple of 8
//
// in big-endian order with CRC-32C sums. A group is what one sync made durable;
// it begins on a page of its own, so that no write touches a page that holds
// what was promised before, and ends with zeros up to the end of a page. The
// record says on which page its group began.
//
// The log is damaged where bytes make no sense between two groups or in the
// middle of one. Reading goes on at the next record whose header is sound.
// What makes no sense in the last group may be damage or something that never
// was acknowledged: nobody can tell, and Damage says so.
package commitlog
