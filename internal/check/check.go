// Package check reads a compiled configuration and finds what will not work as
// meant: rules that can never be reached, permits that open the relay, lists
// that refuse one's own users, parameters without effect. It changes nothing
// and evaluates nothing; it knows no more of the world than the configuration
// says.
//
// Every finding has a code that stays, a place, a reason and a mend.
package check

import (
	"cmp"
	"slices"

	"sekisho/internal/config"
)

// Severity orders findings.
type Severity string

const (
	Error   Severity = "error"   // the server does not start, or not as configured
	Warning Severity = "warning" // it starts, and will surprise
	Note    Severity = "note"    // worth knowing
)

// Finding is one thing to look at.
type Finding struct {
	Code     string     `json:"code"` // such as SEK201
	Severity Severity   `json:"severity"`
	Pos      config.Pos `json:"pos"`
	Service  string     `json:"service,omitempty"` // master.cf entry, when only that one has it
	What     string     `json:"what"`
	Why      string     `json:"why,omitempty"`
	Mend     string     `json:"mend,omitempty"`
}

// Sort orders findings by file, line and code, and makes one of those that
// several services have because they share a list; it is then nobody's own.
func Sort(fs []Finding) []Finding {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.What, b.What))
	})
	var out []Finding
	for _, f := range fs {
		last := len(out) - 1
		if last < 0 || out[last].Pos != f.Pos || out[last].Code != f.Code || out[last].What != f.What {
			out = append(out, f)
			continue
		}
		if out[last].Service != f.Service {
			out[last].Service = ""
		}
	}
	return out
}

// ExitStatus is that of the check command: 2 with an error, 1 with a warning,
// 0 otherwise.
func ExitStatus(fs []Finding) int {
	status := 0
	for _, f := range fs {
		switch f.Severity {
		case Error:
			status = 2
		case Warning:
			status = max(status, 1)
		}
	}
	return status
}
