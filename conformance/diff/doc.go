// Command diff plays dialogues that are made up at random to the Postfix of this
// machine and to Sekisho, and compares what both answer and what their smtpd
// logs, byte for byte.
//
//	make conformance-diff SEED=7 N=5000
//	go run ./conformance/diff -seed 7 -n 5000
//	go run ./conformance/diff -postfix conformance/testdata/diff/*.txt
//
// From one seed come worlds. A world is one main.cf, the tables, the DNS zone, and
// some sixty smtpd services, each with restriction lists and parameters of its own
// (master.cf's -o), as well as the dialogues that are had with each. The generator
// knows all names of the restriction language (names.go), the table types and the
// actions of access(5) (tables.go), zones with all ways of failing (zone.go), the
// parameters around them (world.go), and clients that bend the protocol
// (dialogue.go). It knows nothing of what the right answer is: that is Postfix's.
//
// Both servers run in workers of package sandbox, with their log caught at
// /dev/log (worker.go), beside a policy server, lookup servers and a password
// server that answer both alike (peers.go).
//
// What is known to differ by version is taken out by name (mask.go); each such
// name is explained in conformance/differences.md. Any other difference is made
// small (shrink.go): settings, restrictions, entries of tables, records and lines
// are left out while the difference stays. What remains goes to
// conformance/testdata/diff as a transcript (conformance.Transcript) with its own
// pieces of configuration, "with NAME" and lines after "| ": main.cf and the
// service hold settings, zone holds DNS records, anything else is a table of that
// name in $config_directory/t. TestKept plays those to Sekisho for ever after.
//
// Every tenth service of Postfix runs with -v, which tells how often each
// restriction was evaluated and what came of it: the table at the end.
package main
