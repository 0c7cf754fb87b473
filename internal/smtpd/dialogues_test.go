package smtpd_test

// ehlo is the greeting and the reply to EHLO of the servers below.
const ehlo = `
	S: 220 mx.example ESMTP Postfix
	C: EHLO c.test
	S: 250-mx.example
	S: 250-PIPELINING
	S: 250-SIZE 10240000
	S: 250-VRFY
	S: 250-ETRN
	S: 250-ENHANCEDSTATUSCODES
	S: 250-8BITMIME
	S: 250-DSN
	S: 250-SMTPUTF8
	S: 250 CHUNKING`

// dialogues are those that the recordings of Postfix do not have: parameters
// that no recorded server sets, and what is ours.
var dialogues = []struct{ name, settings, script, log string }{{
	name: "a message",
	script: ehlo + `
	C: MAIL FROM:<a@b.test>
	C: RCPT TO:<user@example.com>
	C: DATA
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 354 End data with <CR><LF>.<CR><LF>
	C: Subject: x
	C:
	C: y
	C: .
	S: 250 2.0.0 Ok: queued as QID
	C: QUIT
	S: 221 2.0.0 Bye`,
	log: `
	postfix/smtpd: connect from client.test[127.0.0.1]
	postfix/smtpd: QID: client=client.test[127.0.0.1]
	postfix/smtpd: disconnect from client.test[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5`,
}, {
	name: "pipelining where it is not allowed",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: HELO c.test
	C: NOOP
	S: 554 5.5.0 Error: SMTP protocol synchronization`,
	log: `
	postfix/smtpd: improper command pipelining after HELO from client.test[127.0.0.1]: NOOP\r\n
	postfix/smtpd: disconnect from client.test[127.0.0.1] helo=0/1 commands=0/1`,
}, {
	name: "help",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: HELP
	S: 214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD`,
	log: "postfix/smtpd: disconnect from client.test[127.0.0.1] help=1 commands=1",
}, {
	name:     "rate limits",
	settings: "smtpd_client_message_rate_limit = 1\nsmtpd_client_recipient_rate_limit = 1\n",
	script: ehlo + `
	C: MAIL FROM:<a@b.test>
	S: 250 2.1.0 Ok
	C: RCPT TO:<user@example.com>
	S: 250 2.1.5 Ok
	C: RCPT TO:<other@example.com>
	S: 450 4.7.1 Error: too many recipients from 127.0.0.1
	C: RSET
	S: 250 2.0.0 Ok
	C: MAIL FROM:<a@b.test>
	S: 450 4.7.1 Error: too much mail from 127.0.0.1`,
	log: `
	postfix/smtpd: warning: Recipient address rate limit exceeded: 2 from client.test[127.0.0.1] for service smtp
	postfix/smtpd: warning: Message delivery request rate limit exceeded: 2 from client.test[127.0.0.1] for service smtp`,
}, {
	name:     "no more limits than asked for",
	settings: "smtpd_client_message_rate_limit = 1\nsmtpd_client_event_limit_exceptions = 127.0.0.0/8\n",
	script: ehlo + `
	C: MAIL FROM:<a@b.test>
	S: 250 2.1.0 Ok
	C: RSET
	S: 250 2.0.0 Ok
	C: MAIL FROM:<a@b.test>
	S: 250 2.1.0 Ok`,
	log: "postfix/smtpd: connect from client.test[127.0.0.1]",
}, {
	name:     "XCLIENT",
	settings: "smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_client_port_logging = yes\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: XCLIENT NAME=spike.test ADDR=192.0.2.9 PORT=99 HELO=h.test PROTO=ESMTP LOGIN=joe
	S: 220 mx.example ESMTP Postfix
	C: MAIL FROM:<a@b.test>
	S: 250 2.1.0 Ok
	C: RCPT TO:<x@elsewhere.test>
	S: 250 2.1.5 Ok
	C: XCLIENT NAME=x
	S: 503 5.5.1 Error: MAIL transaction in progress`,
	log: "postfix/smtpd: QID: client=spike.test[192.0.2.9]:99, sasl_method=XCLIENT, sasl_username=joe",
}, {
	name:     "PROXY header",
	settings: "smtpd_upstream_proxy_protocol = haproxy\n",
	script: `
	C: PROXY TCP4 192.0.2.44 192.0.2.1 4444 25
	S: 220 mx.example ESMTP Postfix
	C: QUIT
	S: 221 2.0.0 Bye`,
	log: "postfix/smtpd: disconnect from unknown[192.0.2.44] quit=1 commands=1",
}, {
	name:     "bad PROXY header",
	settings: "smtpd_upstream_proxy_protocol = haproxy\n",
	script: `
	C: PROXY TCP4 192.0.2.444 192.0.2.1 4444 25
	S: 421 4.3.0 mx.example Server local error`,
	log: `postfix/smtpd: warning: haproxy read: bad or missing client address: PROXY TCP4 192.0.2.444 192.0.2.1 4444 25\r\n`,
}, {
	name:     "reject footer",
	settings: "smtpd_reject_footer = \\c. See $server_name\\nor ask $client_address\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: FOO
	S: 500-5.5.2 Error: command not recognized. See mx.example
	S: 500 5.5.2 or ask 127.0.0.1`,
	log: "postfix/smtpd: disconnect from client.test[127.0.0.1] unknown=0/1 commands=0/1",
}, {
	name:     "reject footer by reply, with soft_bounce",
	settings: "soft_bounce = yes\nsmtpd_reject_footer_maps = regexp:{{/^500 5.5.2 Error: command not/ hard}}\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: FOO
	S: 400-4.5.2 Error: command not recognized
	S: 400 4.5.2 hard`,
	log: "postfix/smtpd: disconnect from client.test[127.0.0.1] unknown=0/1 commands=0/1",
}, {
	name:     "reject filter",
	settings: "smtpd_reject_filter_maps = regexp:{{/^500 5.5.2/ 554 5.7.1 No}}\nsmtpd_reject_footer_maps = regexp:{{/^554 5.7.1 No/ \\c way}}\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: FOO
	S: 554 5.7.1 No way`,
	log: `
	postfix/smtpd: NOQUEUE: reply filter in: 500 5.5.2 Error: command not recognized
	postfix/smtpd: NOQUEUE: reply filter out: 554 5.7.1 No`,
}, {
	name:     "reject filter with a result that is no refusal",
	settings: "smtpd_reject_filter_maps = static:{554 4.7.1 No}\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: FOO
	S: 500 5.5.2 Error: command not recognized`,
	log: "postfix/smtpd: warning: NOQUEUE: ignoring invalid reject filter result: 554 4.7.1 No",
}, {
	name:     "reject filter that cannot be asked",
	settings: "smtpd_reject_filter_maps = fail:down\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: FOO
	S: 500 5.5.2 Error: command not recognized`,
	log: `postfix/smtpd: warning: fail:down lookup error for "500 5.5.2 Error: command not recognized"`,
}, {
	name:     "EHLO keywords nobody knows",
	settings: "smtpd_discard_ehlo_keywords = sise, vrfy, silent-discard\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: VRFY
	S: 501 5.5.4 Syntax: VRFY address [SMTPUTF8]`,
	log: "postfix/smtpd: disconnect from client.test[127.0.0.1] vrfy=0/1 commands=0/1",
}, {
	name:     "hard error limit",
	settings: "smtpd_hard_error_limit = 2\n",
	script: `
	S: 220 mx.example ESMTP Postfix
	C: FOO
	S: 500 5.5.2 Error: command not recognized
	C: FOO
	S: 500 5.5.2 Error: command not recognized
	S: 421 4.7.0 mx.example Error: too many errors`,
	log: "postfix/smtpd: too many errors after UNKNOWN from client.test[127.0.0.1]",
}, {
	name: "chunks after an error",
	script: ehlo + `
	C: MAIL FROM:<a@b.test>
	S: 250 2.1.0 Ok
	C: BDAT 3
	C: a
	S: 554 5.5.1 Error: no valid recipients
	C: BDAT 3
	C: b
	S: 551 5.0.0 Discarded 3 bytes after earlier error
	C: BDAT 3 LAST
	C: c
	S: 551 5.0.0 Discarded 3 bytes after earlier error
	C: MAIL FROM:<a@b.test>
	S: 250 2.1.0 Ok`,
	log: "postfix/smtpd: disconnect from client.test[127.0.0.1] ehlo=1 mail=2 bdat=0/3 commands=3/6",
}}
