"""What `batchseal migrate` does for a switch from the original product, one file for each action.

docker_line      reads the command line that starts the original's container
work_folder      reads the original's work folder
check            says what carries over, what changes and what is missing
references       marks references that the original sealed as taken
contract_import  makes a contract.toml from the vendor's OpenAPI document
openapi_reading  the operations and field names in such a document
"""
