package main

import (
	"slices"
	"strings"

	"sekisho/conformance"
)

// setting is a parameter. A restriction list has items, so that they can be left
// out one by one.
type setting struct {
	Name, Value string
	Items       []string
	List        bool
}

func (s setting) text() string {
	if s.List {
		return s.Name + " = " + strings.Join(s.Items, ", ")
	}
	return s.Name + " = " + s.Value
}

// world is what all services of a server have in common, and the services.
type world struct {
	Main     []setting         // main.cf, after base.cf
	Files    map[string]string // tables in $config_directory/t
	Zone     []string
	Services []service
}

// service is one smtpd.
type service struct {
	Settings []setting
	Files    map[string]string // tables of this service alone, instead of the world's
	Verbose  bool              // with -v, for Postfix
	Talks    []talk
}

// talk is a dialogue: the client's turns, each with as many replies as are to
// be awaited.
type talk []turn

// turn is what the client does between two times it listens.
type turn []conformance.Step

func (t talk) steps() []conformance.Step { return slices.Concat(asSteps(t)...) }

func asSteps(t talk) [][]conformance.Step {
	var all [][]conformance.Step
	for _, u := range t {
		all = append(all, u)
	}
	return all
}

// turns reads a dialogue back: a turn ends where the client speaks again after
// the server, but for content.
func turns(steps []conformance.Step) talk {
	var t talk
	for i, s := range steps {
		if i == 0 || s.Kind != conformance.Reply && s.Kind != conformance.Content && steps[i-1].Kind == conformance.Reply {
			t = append(t, nil)
		}
		if s.Kind != conformance.Closed {
			t[len(t)-1] = append(t[len(t)-1], s)
		}
	}
	return t
}

// outcome is what came of a dialogue at one server.
type outcome struct {
	Steps []conformance.Step
	Log   []string
	Err   string // the dialogue could not be had: the server hangs or died
}
