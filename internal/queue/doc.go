// Package queue is the durable spool: a message that Commit has returned for
// is on disk, with its envelope, and stays there until Remove, whatever happens
// to the process or the machine. What becomes of each recipient is recorded
// too, so that nobody gets a message again for another recipient's sake.
//
// It decides nothing about delivery: it hands out messages when they are due
// (Next) and takes down what the queue manager says. Only one process may have
// a spool open.
//
// A message of ordinary size begins its life as a record of a log that all
// share (package commitlog), because most messages are gone in a second and one
// sync does for many. A large one is streamed into a file of its own. What is
// still there when its part of the log is to be used again moves into such a
// file, too. While both are there, after a crash, the file counts.
//
// On disk, below the spool's directory:
//
//	log/...       segments of the log
//	messages/ID   one file for each message that is not in the log, see file.go
//	              for its format; its time of modification is when the message is
//	              tried next, or 2038 when it is on hold
//	incoming/...  files being written, or empty and to be used again; removed
//	              when the spool is opened
//	corrupt/...   what makes no sense, kept for the administrator
//	lock          held by the process that has the spool open
//
// Looking into it and working on it by hand is done by the process that has it
// open: All, List and Show tell what there is, for each recipient the last answer
// and the next try; Hold, Release, Requeue, Expire, Delete, Flush and its sisters
// may be called at any time, for messages that are being delivered too.
//
// See Postfix's QSHAPE_README, qmgr(8) and postsuper(1) for the ideas; the
// format is our own.
package queue
