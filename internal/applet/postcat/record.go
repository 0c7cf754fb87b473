package postcat

import (
	"fmt"
	"strings"
	"time"

	"sekisho/internal/mail"
	"sekisho/internal/queue/control"
)

// record is one record of the file that Postfix would have for a message.
type record struct {
	name string // in the output
	text string // what the output shows
	size int64  // in a file: with its type and length
}

// stored is the number of bytes that a record's content takes in a file.
func stored(n int) int64 {
	head := int64(2)
	for n >= 1<<7 {
		n >>= 7
		head++
	}
	return head
}

func newRecord(name, text string) record {
	return record{name, text, stored(len(text)) + int64(len(text))}
}

func attribute(name, value string) record { return newRecord("named_attribute", name+"="+value) }

// envelope returns the records before the content. The first says how long the
// others are.
func envelope(m control.Message) []record {
	e := &m.Envelope
	at := record{name: "message_arrival_time", text: ctime(e.Arrived)}
	at.size = 2 + int64(len(fmt.Sprintf("%d %6d", e.Arrived.Unix(), e.Arrived.Nanosecond()/1000)))
	create := newRecord("create_time", fmt.Sprintf("create_time=%d", e.Arrived.Unix()))
	create.text = ctime(e.Arrived)
	list := append([]record{at, create}, attributes(e)...)
	for i, r := range e.Recipients {
		list = append(list, recipient(r, m.Progress[i].Done)...)
	}
	const sizeRecord = 97
	offset := int64(sizeRecord)
	for _, r := range list {
		offset += r.size
	}
	offset += 2 // the record that begins the content
	size := record{name: "message_size", size: sizeRecord, text: fmt.Sprintf("%15d %15d %15d %15d %15d %15d",
		e.Size, offset, len(e.Recipients), 0, e.Size, 0)}
	return append([]record{size}, list...)
}

func attributes(e *mail.Envelope) []record {
	var list []record
	add := func(name, value string) {
		if value != "" {
			list = append(list, attribute(name, value))
		}
	}
	c := &e.Client
	if c.Address != "" {
		add("log_ident", e.QueueID)
	} else {
		add("rewrite_context", "local")
	}
	add("envelope_id", e.EnvID)
	add("ret_flags", map[string]string{"FULL": "1", "HDRS": "2"}[e.Ret])
	if transport, nexthop, ok := strings.Cut(e.Filter, ":"); ok {
		list = append(list, newRecord("content_filter", transport+":"+nexthop))
	}
	list = append(list, newRecord("sender", e.Sender))
	add("encoding", map[string]string{"8BITMIME": "8bit", "7BIT": "7bit"}[e.Body])
	if c.Address == "" {
		return list
	}
	add("log_client_name", c.Name)
	add("log_client_address", c.Address)
	add("log_client_port", c.Port)
	add("log_message_origin", c.Name+"["+c.Address+"]")
	add("log_helo_name", c.Helo)
	add("log_protocol_name", c.Protocol)
	add("client_name", c.Name)
	add("reverse_client_name", c.ReverseName)
	add("client_address", c.Address)
	add("client_port", c.Port)
	add("helo_name", c.Helo)
	add("protocol_name", c.Protocol)
	add("sasl_method", c.SASLMethod)
	add("sasl_username", c.SASLUsername)
	add("sasl_sender", c.SASLSender)
	family := "2" // AF_INET
	if strings.Contains(c.Address, ":") {
		family = "10"
	}
	add("client_address_type", family)
	return list
}

func recipient(r mail.Recipient, done bool) []record {
	var list []record
	if r.Notify != 0 {
		list = append(list, attribute("notify_flags", fmt.Sprint(notifyFlags(r.Notify))))
	}
	if r.ORCPT != "" {
		orcpt := r.ORCPT
		if kind, text, ok := strings.Cut(orcpt, ";"); ok && !strings.EqualFold(kind, "utf-8") {
			orcpt = kind + ";" + mail.DecodeXtext(text)
		}
		list = append(list, attribute("dsn_orig_rcpt", orcpt))
	}
	name := "recipient"
	if done {
		name = "done_recipient"
	}
	return append(list, newRecord("original_recipient", r.Original), newRecord(name, r.Address))
}

// notifyFlags are Postfix's numbers for the values of NOTIFY.
func notifyFlags(n mail.Notify) (flags int) {
	for bit, flag := range map[mail.Notify]int{mail.NotifyNever: 1, mail.NotifySuccess: 2, mail.NotifyFailure: 4, mail.NotifyDelay: 8} {
		if n&bit != 0 {
			flags |= flag
		}
	}
	return flags
}

func ctime(t time.Time) string { return t.Local().Format("Mon Jan _2 15:04:05 2006") }
