package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// refusal is a reason to refuse a session's only recipient.
type refusal struct {
	name     string
	figure   string
	settings string
	code     int
	to       string
	fresh    bool // every session comes from another address
}

const (
	relayRefused   = "relay attempts refused, sessions/s"
	blockRefused   = "clients on a block list refused, sessions/s"
	tableRefused   = "clients in a table refused, sessions/s"
	unknownRefused = "unknown users refused, sessions/s"
)

var refusals = []refusal{
	{name: "relay", figure: relayRefused, code: 554, to: "user@elsewhere.test"},
	{name: "block list", figure: blockRefused, code: 554, to: account(0), fresh: true,
		settings: "smtpd_client_restrictions = reject_rbl_client " + blockList + "\n"},
	{name: "table", figure: tableRefused, code: 554, to: account(0), fresh: true,
		settings: "smtpd_client_restrictions = check_client_access cidr:$config_directory/blocked\n"},
	{name: "unknown user", figure: unknownRefused, code: 550, to: "nobody@bench.test"},
}

// writeBlocked writes a table of 1,000 networks; the last ones are the clients'.
func writeBlocked(dir string) error {
	var b strings.Builder
	for i := range 997 {
		fmt.Fprintf(&b, "10.%d.%d.0/24 REJECT\n", i/250, i%250)
	}
	b.WriteString("127.1.0.0/16 REJECT\n127.2.0.0/15 REJECT\n127.4.0.0/14 REJECT\n")
	return os.WriteFile(filepath.Join(dir, "blocked"), []byte(b.String()), 0o644)
}

// refuseSteps are the measurements of sessions that are refused.
func refuseSteps(p plan, res *results) (steps []step) {
	for _, r := range refusals {
		if !p.what["refuse"] || r.fresh && !inside() {
			continue // the block list's name server needs a world of its own
		}
		steps = append(steps, func(ctx context.Context, s subject) error {
			end := toMaildir(s)
			end.settings = r.settings
			if err := writeBlocked(s.site().conf); err != nil {
				return err
			}
			return running(ctx, s, end, func(s subject) error { return refuse(ctx, s, r, refusing, p.attempts, res) })
		})
	}
	return steps
}

// refusing is how many sessions are refused at once.
const refusing = 10

// refuse measures sessions that have their only recipient refused.
func refuse(ctx context.Context, s subject, r refusal, sessions, attempts int, res *results) error {
	m, err := newMeter(s.root())
	if err != nil {
		return err
	}
	took, err := repeat(ctx, fmt.Sprintf("%s: refuse, %s", s.name(), r.name), sessions, attempts, func(i int) error {
		return s.site().client().refused(r.from(i), r.code, r.to)
	})
	if err != nil {
		return err
	}
	used, share, err := m.read()
	if err != nil {
		return err
	}
	n := float64(attempts)
	res.add("refuse", sessions, r.figure, s.name(), n/took.Seconds())
	res.add("refuse", sessions, r.name+": "+cpuPerSession, s.name(), used/n*1000)
	res.add("refuse", sessions, r.name+": "+generatorShare, s.name(), share*100)
	return nil
}

// from returns the address of session i, nil for any.
func (r refusal) from(i int) net.IP {
	if !r.fresh {
		return nil
	}
	return net.IPv4(127, byte(1+i>>16), byte(i>>8), byte(i))
}
