package smtp

import (
	"fmt"
	"strings"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// Flags are the letters of flags= among a service's arguments in master.cf.
type Flags struct {
	DeliveredTo bool // D: add Delivered-To, and refuse what has had it
	OrigTo      bool // O: add X-Original-To
	ReturnPath  bool // R: add Return-Path
	Final       bool // X: an LMTP server without DSN support is a final delivery
}

// ParseFlags reads the arguments that a service has in master.cf.
func ParseFlags(args []string) (f Flags, err error) {
	for _, arg := range args {
		if len(arg) < len("flags=") || !strings.EqualFold(arg[:len("flags=")], "flags=") {
			return f, fmt.Errorf("unknown attribute name: %s", arg)
		}
		f = Flags{}
		for _, c := range arg[len("flags="):] {
			switch c {
			case 'D':
				f.DeliveredTo = true
			case 'O':
				f.OrigTo = true
			case 'R':
				f.ReturnPath = true
			case 'X':
				f.Final = true
			default:
				return f, fmt.Errorf("unknown flag %q in %s; use D, O, R and X", c, arg)
			}
		}
	}
	return f, nil
}

// refuse returns what is wrong with a request before it begins, nil if nothing
// is.
func (a *Agent) refuse(r *deliver.Request) *deliver.Result {
	for _, f := range []struct {
		set    bool
		letter string
	}{{a.Flags.DeliveredTo, "D"}, {a.Flags.OrigTo, "O"}} {
		if f.set && len(r.Recipients) > 1 {
			a.Log.Warn(fmt.Sprintf("flag `%s' requires %s_destination_recipient_limit = 1", f.letter, a.Name))
			return &deliver.Result{Status: deliver.Deferred, DSN: "4.3.5", Relay: a.Name, Text: "mail system configuration error"}
		}
	}
	if !a.Flags.DeliveredTo {
		return nil
	}
	to := r.Recipients[0].Address
	switch delivered, err := r.DeliveredTo(); {
	case err != nil:
		a.Log.Error(fmt.Sprintf("%s: %v", r.QueueID, err))
		return &deliver.Result{Status: deliver.Deferred, DSN: "4.3.0", Relay: a.Name, Text: "cannot read the message"}
	case delivered[strings.ToLower(to)]:
		return &deliver.Result{Status: deliver.Bounced, DSN: "5.4.6", Relay: a.Name, Text: "mail forwarding loop for " + to}
	}
	return nil
}

// headers are the lines that go before the message.
func (f Flags) headers(r *deliver.Request) (lines []string) {
	if f.ReturnPath {
		lines = append(lines, "Return-Path: <"+mail.Quote(r.Envelope.Sender)+">\n")
	}
	if f.OrigTo {
		lines = append(lines, "X-Original-To: "+mail.Quote(r.Recipients[0].Original)+"\n")
	}
	if f.DeliveredTo {
		lines = append(lines, "Delivered-To: "+mail.Quote(r.Recipients[0].Address)+"\n")
	}
	return lines
}
