// Asks over the transport of Go's standard library: a line of stdin is a path, a line of stdout is an answer.
//
// The answer's line: status, connections opened so far, the client's address as the server saw it, the body.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	address := os.Args[1]
	version := map[string]uint16{"TLSv1_2": tls.VersionTLS12, "TLSv1_3": tls.VersionTLS13}[os.Args[2]]
	var opened atomic.Int32
	var dialer net.Dialer
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			opened.Add(1)
			return dialer.DialContext(ctx, network, address)
		},
	}}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answer, err := client.Get("https://" + address + lines.Text())
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		fmt.Println(answer.StatusCode, opened.Load(), answer.Header.Get("Peer"), string(body))
	}
}
