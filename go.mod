module github.com/tokenagent/tokenagent

go 1.26.0
