module github.com/tokenagent/tokenagent/tools/image

go 1.26.0
