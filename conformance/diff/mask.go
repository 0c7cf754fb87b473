package main

import (
	"regexp"
	"slices"
	"strings"

	"sekisho/conformance"
)

var (
	queueID  = regexp.MustCompile(`^((?:warning: )?)[0-9A-F]{6,}: `)
	queuedAs = regexp.MustCompile(`queued as [0-9A-F]{6,}`)
	// unavailable is why a table cannot be opened. Postfix says it with each lookup,
	// Sekisho once at its start.
	unavailable = regexp.MustCompile(`^warning: \S+:.* is unavailable\. |^warning: (?:socketmap|tcp):.* (?:server \w+ error|table lookup problem|bad reply)`)

	// noAddress is what the C library says of a host without addresses: not the
	// same words behind an alias.
	noAddress = regexp.MustCompile(`: (?:Name or service not known|No address associated with hostname)$`)

	ownTable = regexp.MustCompile(`/etc/postfix/t\d+/`)
)

// memory is what the process of a service has logged that it says only once.
type memory map[string]bool

// lines is an outcome as text, without what differs from run to run.
func lines(o outcome, seen memory) []string {
	var out []string
	for _, s := range o.Steps {
		switch s.Kind {
		case conformance.Reply:
			out = append(out, "S: "+queuedAs.ReplaceAllString(string(s.Data), "queued as <ID>"))
		case conformance.Closed:
			out = append(out, "S! closed")
		default:
			out = append(out, "C: "+strings.TrimSuffix(string(s.Data), "\r\n"))
		}
	}
	out = append(out, logLines(o, seen)...)
	if o.Err != "" {
		out = append(out, "! "+o.Err)
	}
	return out
}

// logLines is the log of an outcome, masked.
func logLines(o outcome, seen memory) (out []string) {
	for _, l := range sinceConnect(o.Log) {
		l = queueID.ReplaceAllString(l, "$1<ID>: ")
		l = ownTable.ReplaceAllString(l, "/etc/postfix/t/")
		if unavailable.MatchString(l) || strings.HasPrefix(l, "warning: midna_domain_to_ascii_create: ") {
			continue
		}
		if strings.HasPrefix(l, "ignoring DNS RR: ") { // the name is as it was asked for
			l = strings.ToLower(l)
		}
		if strings.HasPrefix(l, "warning: Unable to look up ") {
			l = noAddress.ReplaceAllString(l, ": <no address>")
		}
		if once(l) {
			if seen[l] {
				continue
			}
			seen[l] = true
		}
		out = append(out, l)
	}
	return out
}

// sinceConnect leaves out what a process of Postfix says when it starts.
func sinceConnect(log []string) []string {
	for i, l := range log {
		if strings.HasPrefix(l, "connect from") {
			return log[i:]
		}
	}
	return log
}

// once says whether a process of Postfix logs such a line only the first time:
// it remembers the answers of block lists.
func once(line string) bool {
	return strings.Contains(line, "RBL lookup error") || strings.HasPrefix(line, "warning: smtpd_dns_reply_filter")
}

// debug are lines that Postfix logs without -v.
var debug = regexp.MustCompile(`^(?:connect from|disconnect from|lost connection|timeout after|improper command|too many errors|warning: |NOQUEUE: |<ID>: |fatal: |mapping DSN|discarding EHLO|S[:!] |C: |! )`)

// undebugged leaves out what -v adds.
func undebugged(lines []string) []string {
	var out []string
	for _, l := range lines {
		if debug.MatchString(l) {
			out = append(out, l)
		}
	}
	return out
}

// removedName is Sekisho's word on a restriction that later Postfix does not have.
var removedName = regexp.MustCompile(`^warning: support for restriction "\w+" has been removed in `)

// knownDifference names what differences.md says about all that may follow from
// a line of Sekisho's log; empty for nothing.
func knownDifference(got []string) string {
	if slices.ContainsFunc(got, removedName.MatchString) {
		return "removed restrictions"
	}
	return ""
}
