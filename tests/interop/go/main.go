// Command peer is a Tndrl peer of another make, for interoperability tests: quic-go below, grpc-go and a2a-go above.
//
// It reads one JSON command a line from standard input, runs each on its own, and answers with one JSON line that has
// the command's id. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// command is one request. Which fields count depends on Op.
type command struct {
	ID        int      `json:"id"`
	Op        string   `json:"op"`
	Addr      string   `json:"addr"`
	PKI       string   `json:"pki"`
	Expect    string   `json:"expect"`
	Host      string   `json:"host"`
	Version   string   `json:"version"`
	NoCert    bool     `json:"no_cert"`
	Tickets   string   `json:"tickets"`
	ALPN      string   `json:"alpn"`
	KeepAlive float64  `json:"keep_alive"`
	Admins    []string `json:"admins"`
	Retry     bool     `json:"retry"`
	Conn      string   `json:"conn"`
	Chan      string   `json:"chan"`
	Name      string   `json:"name"`
	Type      int      `json:"type"`
	Case      string   `json:"case"`
	Text      string   `json:"text"`
	Task      string   `json:"task"`
	Bytes     int64    `json:"bytes"`
	Graceful  bool     `json:"graceful"`
	Reason    string   `json:"reason"`
	Timeout   float64  `json:"timeout"`
	Times     int      `json:"times"`
}

// answer is what a command led to: facts, or an error with whatever codes it carries.
type answer map[string]any

type operation func(ctx context.Context, c command) (answer, error)

var operations = map[string]operation{
	"serve":   serve,
	"stop":    stop,
	"ended":   waitEnded,
	"dial":    dial,
	"wait":    waitClosed,
	"close":   closeConn,
	"migrate": migrate,
	"open":    openChannel,
	"shut":    shutChannel,
	"raw":     rawStream,
	"ping":    ping,
	"status":  getStatus,
	"command": shutdown,
	"grpc":    grpcCase,
	"details": details,
	"upload":  upload,
	"fetch":   fetch,
	"watch":   watch,
	"card":    card,
	"send":    send,
	"stream":  stream,
	"task":    task,
	"cancel":  cancelTask,
	"follow":  follow,
	"issue":   issue,
}

func main() {
	var writing sync.Mutex
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "not a command:", err)
			os.Exit(2)
		}
		go func() {
			result := run(c)
			result["id"] = c.ID
			writing.Lock()
			defer writing.Unlock()
			if err := out.Encode(result); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func run(c command) answer {
	op, known := operations[c.Op]
	if !known {
		return answer{"error": "no such operation: " + c.Op}
	}
	ctx, cancel := context.WithCancel(context.Background()) // ends a stream that was left early
	defer cancel()
	if c.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, seconds(c.Timeout))
		defer cancel()
	}
	facts, err := op(ctx, c)
	if facts == nil {
		facts = answer{}
	}
	if err != nil {
		describe(err, facts)
	}
	return facts
}
