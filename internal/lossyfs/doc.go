// Package lossyfs is a file system in memory, mounted through FUSE, that loses
// power: what was not synced is there afterwards in part, in any order, or not
// at all. Programs run on it unchanged, so it shows what they sync, not what a
// model of them does.
//
// Disk is the medium, Mount makes it a directory, and Lose is what a power
// failure leaves of it:
//
//   - of a file's writes since its last sync each sector of 512 bytes is there or
//     not, or is torn: the new bytes up to some place in it, the old ones behind;
//   - changes of a file's length since then have happened or not;
//   - names that were given or taken away since the directory's last sync are
//     there or not, each by itself: a rename can leave both names, or none.
//
// This is what POSIX promises, and less than any journal does. A sync of a file
// does not make its name durable, and what is in the page cache does not exist.
// There are no links, owners or times of access.
package lossyfs
