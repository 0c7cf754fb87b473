// Package queue is the durable spool: a message that Commit has returned for
// is on disk, with its envelope, and stays there until Remove, whatever happens
// to the process or the machine. What becomes of each recipient is recorded in
// the message's file, so that nobody gets a message again for another
// recipient's sake.
//
// It decides nothing about delivery: it hands out messages when they are due
// (Next) and takes down what the queue manager says. Only one process may have
// a spool open.
//
// On disk, below the spool's directory:
//
//	incoming/...  being written, or empty and to be used again; removed when
//	              the spool is opened
//	messages/ID   one file for each message, see file.go for its format
//	corrupt/ID    files that make no sense, kept for the administrator
//	lock          held by the process that has the spool open
//
// See Postfix's QSHAPE_README and qmgr(8) for the ideas; the format is our own.
package queue
