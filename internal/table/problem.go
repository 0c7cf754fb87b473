package table

import (
	"fmt"

	"sekisho/internal/config"
)

// notes collects what is odd about the source of one table. Lines whose rule is
// lost are errors, so that a start or a reload can stop on them; the rest is
// said once in the log. In a tolerant set, which does as postmap(1) does, all of
// it is.
type notes struct {
	kind string // "regexp map" and the like; "" where Postfix says only the name
	path string
	o    Options
	errs []error
}

// odd says something about a line that does no harm.
func (n *notes) odd(line int, text string) {
	n.o.Log.Warn(fmt.Sprintf("%s, line %d: %s", n.name(), line, text))
}

// lost says why the rule of a line is left out.
func (n *notes) lost(line int, text, whatTheyDo string) {
	if n.o.Tolerant {
		n.odd(line, text+whatTheyDo)
		return
	}
	n.errs = append(n.errs, &config.Error{Pos: config.Pos{File: n.path, Line: line}, Text: text})
}

func (n *notes) name() string {
	if n.kind == "" {
		return n.path
	}
	return n.kind + " " + n.path
}

// stray says that the top of a file continues nothing.
func (n *notes) stray(text string) {
	if text != "" {
		n.o.Log.Warn(n.path + ": " + text)
	}
}
