// Package dnsfilter takes records out of DNS answers as tables say:
// smtpd_dns_reply_filter, smtp_dns_reply_filter and lmtp_dns_reply_filter
// (postconf(5)). Each table is asked about the record as one line of a zone
// file, "host.example. 3600 IN MX 10 mx.example."; the only action is IGNORE.
//
// It is pure: tables are asked through an evidence.Source. What an answer means
// of which nothing is left is the caller's business.
package dnsfilter

import (
	"fmt"
	"strconv"
	"strings"

	"sekisho/internal/dns"
	"sekisho/internal/evidence"
)

// Filter is a parameter with its tables. The zero Filter passes everything.
type Filter struct {
	Param  string
	Tables []string
}

// Outcome is what became of an answer.
type Outcome uint8

const (
	Kept    Outcome = iota // something is left
	Dropped                // nothing is left
	Broken                 // a table failed, or said what nobody understands
)

// Line is something to be logged.
type Line struct {
	Warn bool
	Text string
}

// Apply returns the records that the filter leaves. No records are Kept.
func (f Filter) Apply(src evidence.Source, records []dns.Record) (kept []dns.Record, o Outcome, log []Line) {
	if len(f.Tables) == 0 || len(records) == 0 {
		return records, Kept, nil
	}
	for _, r := range records {
		text := Text(r)
		a, warnings := evidence.First(src, f.Param, f.Tables, text)
		for _, w := range warnings {
			log = append(log, Line{Warn: true, Text: w})
		}
		verb, _, _ := strings.Cut(strings.ReplaceAll(a.Value, "\t", " "), " ")
		switch {
		case a.Status == evidence.NotFound:
			kept = append(kept, r)
		case a.Status != evidence.Found:
			return nil, Broken, log
		case !strings.EqualFold(verb, "IGNORE"):
			return nil, Broken, append(log, Line{Warn: true, Text: fmt.Sprintf("%s: unknown DNS filter action: \"%s\"", f.Param, a.Value)})
		default:
			log = append(log, Line{Text: "ignoring DNS RR: " + text})
		}
	}
	if len(kept) == 0 {
		return nil, Dropped, log
	}
	return kept, Kept, log
}

// Reason says, in the words of Postfix's dns_lookup(3), why a lookup has no
// records though there are some; empty for Kept.
func (o Outcome) Reason(name, typ string) string {
	switch o {
	case Dropped:
		return "Error looking up name=" + name + " type=" + typ + ": DNS reply filter drops all results"
	case Broken:
		return "Error looking up name=" + name + " type=" + typ + ": Invalid DNS reply filter syntax"
	}
	return ""
}

// Text is a record as the tables see it.
func Text(r dns.Record) string {
	data := r.Data
	switch r.Type {
	case "MX":
		data = strconv.Itoa(int(r.Pref)) + " " + r.Data + "."
	case "TXT":
		data = r.Text()
	case "A", "AAAA":
	default:
		data += "."
	}
	return fmt.Sprintf("%s. %d IN %s %s", r.Name, int64(r.TTL.Seconds()), r.Type, data)
}
