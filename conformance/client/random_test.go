package client

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
)

var (
	seed  = flag.Uint64("seed", 1, "of the random servers")
	count = flag.Int("random", 10, "how many random servers there are")
)

// random are servers that say anything anywhere.
func random() []*scenario {
	r := rand.New(rand.NewPCG(*seed, 0))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var list []*scenario
	for n := range *count {
		s := &scenario{name: fmt.Sprintf("random%dx", n), script: script{}, lmtp: r.IntN(4) == 0}
		hello := "EHLO"
		if s.lmtp {
			hello = "LHLO"
		}
		s.script[hello] = "250-srv.test\n" + pick("250 PIPELINING", "250-PIPELINING\n250-DSN\n250 8BITMIME", "250 SIZE 100000", "250-8BITMIME\n250 SMTPUTF8", "250 HELP", "250-pipelining\n250-SIZE\n250 XFOO=BAR BAZ")
		for i := range 1 + r.IntN(4) {
			s.to = append(s.to, fmt.Sprintf("r%d", i)+pick("", "", " NOTIFY=NEVER", " NOTIFY=SUCCESS,DELAY", " ORCPT=rfc822;x+2By@z.test"))
		}
		for _, verb := range []string{"banner", hello, "HELO", "MAIL", "RCPT 1", "RCPT 2", "RCPT 3", "DATA", ".", ". 2", "RSET", "QUIT"} {
			if r.IntN(5) != 0 || s.lmtp && verb == "HELO" {
				continue
			}
			s.script[verb] = pick("250 2.1.5 fine", "251 2.0.0 will forward", "250-2.0.0 one\n250-2.0.0 two\n250 2.0.0 three", "354 go on", "421 4.3.2 closing^",
				"421 4.7.0 too many", "450 4.2.1 busy", "451-4.3.0 try\n451 4.3.0 later", "452 full", "500 5.5.1 what", "550 5.1.1 nobody", "550-5.7.1 no\n550 5.7.1 really",
				"552 5.2.2 over", "554 no", "555 5.5.4 parameters", "600 six", "99 short", "abc", "250", "250-", "550 4.1.1 odd class", "550  5.1.1  two blanks", "^", "250 half^",
				"550 5.1.1 "+strings.Repeat("long ", 30), "250 tab\there", "4xx what\n250 2.0.0 fine")
		}
		s.sender = "f@q.test" + pick("", "", " BODY=8BITMIME", " BODY=7BIT", " RET=HDRS", " ENVID=x+2By")
		s.header = pick("", "", "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n", "X-Long: "+strings.Repeat("word ", 300)+"\n")
		s.body = pick("short\n", ".\n..\n", "\n\n\n", "\xc3\xa9\n", strings.Repeat("x", 1500)+"\n", "From x\n")
		s.settings = pick("", "", "smtp_skip_quit_response=no", "smtp_line_length_limit=100", "smtp_never_send_ehlo=yes", "smtp_discard_ehlo_keywords=pipelining", "smtp_skip_5xx_greeting=no")
		if s.lmtp {
			s.settings = ""
		}
		list = append(list, s)
	}
	return list
}
