// Package verify is address verification, the job of Postfix's verify(8): it
// remembers whether addresses can get mail, and has a probe sent when it does
// not know or has not looked for long. A probe is a message that goes the way
// of mail and is delivered nowhere; what became of it comes back by Update.
//
// It decides nothing about clients (package restrict does), sends nothing and
// delivers nothing: how a probe gets into the queue is the caller's (Post), and
// what becomes of it the queue manager's. Outcomes are in memory and, where
// address_verify_map names a file, in a log on disk (Cache).
//
// verify(8), ADDRESS_VERIFICATION_README, address_verify_ in postconf(5).
package verify
