package restrict

import (
	"strings"

	"sekisho/internal/config"
)

// Entry is one restriction of a compiled list, for tools that read a
// configuration rather than evaluate it.
type Entry struct {
	Name  string // canonical name, or a restriction class; empty for a bare table
	Arg   string // table, DNS list, number
	Pos   config.Pos
	Warn  bool    // warn_if_reject stands before it
	Class []Entry // the members, when it is a restriction class
}

// List is a restriction list with its parameter.
type List struct {
	Param   string
	Entries []Entry
}

// Lists returns the lists of the program in the order in which a recipient
// meets them. A class that contains itself is shown down to its first
// repetition.
func (p *Program) Lists() []List {
	order := []listID{listClient, listHelo, listSender}
	rcpt := p.recipientLists()
	order = append(order, rcpt[:]...)
	order = append(order, listData, listEndOfData, listETRN)
	out := make([]List, len(order))
	for i, id := range order {
		out[i] = List{Param: listParams[id], Entries: p.entries(p.lists[id], nil)}
	}
	return out
}

func (p *Program) entries(items []item, within []string) []Entry {
	var out []Entry
	warn := false
	for _, it := range items {
		if it.op == opWarnIfReject {
			warn = true
			continue
		}
		e := Entry{Name: it.text, Arg: it.arg, Pos: it.pos, Warn: warn}
		warn = false
		switch it.op {
		case opBareTable:
			e.Name = ""
		case opBroken:
			e.Arg = ""
		case opClass:
			e.Class = p.members(it.text, within)
		default:
			if b, ok := lookupBuiltin(strings.ToLower(it.text)); ok {
				e.Name = b.name
			}
		}
		out = append(out, e)
	}
	return out
}

func (p *Program) members(class string, within []string) []Entry {
	for _, w := range within {
		if w == class {
			return nil
		}
	}
	return p.entries(p.classes[class], append(within[:len(within):len(within)], class))
}
