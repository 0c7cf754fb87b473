// Package endings holds tests that deliver the same messages with Postfix and
// with Sekisho, both run on the same configuration, and compare what comes of
// them: files in homes and spools, arguments and environment of commands, log
// lines of the delivery agents, notifications. pipe(8), local(8), bounce(8).
//
// There is nothing to record: both run side by side, each in namespaces of its
// own (package sandbox). The site is in testdata/site.
package endings
