// Package conformance holds Sekisho to Postfix: dialogues recorded from
// Postfix 3.7.11 are played to both servers, and what they answer, log, deliver
// and leave in the queue is compared line by line.
//
// testdata holds one transcript a dialogue (see Transcript for the format), site
// the configuration, accounts and DNS zone both servers run with. Every server
// runs in namespaces of its own (package sandbox, below this one), so that the
// paths and ports of the configuration are real ones and nothing of the machine
// is touched; that needs root on Linux.
//
//	go test ./conformance -run TestSekisho/client-good
//	go test ./conformance -run TestPostfix
//	go test ./conformance -run TestPostfix/client-good -record
//
// Only the last form writes transcripts: the recorded truth comes from Postfix,
// never from Sekisho. Where Sekisho differs on purpose, differences.md says so,
// line by line, and the difference is tested as such.
//
// What is masked: queue ids (numbered instead), process ids, times and delays,
// and the size of a message where it depends on the length of its queue id.
package conformance
